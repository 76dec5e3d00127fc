import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { HeadReader } from "../http/head-reader.ts";
import { DEFAULT_HTTP_LIMITS } from "../http/limits.ts";
import { parseRequestHead, type RequestHead } from "../http/request-head.ts";

/**
 * The change from HTTP/1.1 to HTTP/2 on one connection (RFC 7540 §3.2), for Node's `http2`, which knows no such thing: the request that asked for it is
 * said to a server as stream 1 in the client's name, and on the client's side kept from being said again.
 */

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const FRAME_HEAD = 9;
const [HEADERS, SETTINGS, CONTINUATION] = [1, 4, 9];
const [END_STREAM, END_HEADERS] = [1, 4];
const MAX_FRAME = 16_384;
/** A field that is not remembered, with a name of its own (RFC 7541 §6.2.2). */
const LITERAL = Buffer.from([0]);
/** Headers of HTTP/1.1 alone (RFC 9113 §8.2.2), and those that become pseudo-headers. */
const DROPPED = new Set(["connection", "upgrade", "http2-settings", "host", "keep-alive", "proxy-connection", "transfer-encoding", "te"]);

export const AGREED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/** A server that agrees to go on with HTTP/2, and says which path and stream it saw. */
export function upgrading(seen: string[]): (socket: Socket) => void {
  return (socket) => {
    const heads = new HeadReader(10_000);
    let held = Buffer.alloc(0);
    let request: RequestHead | undefined;
    const begin = () => {
      const bytes = request && withFirstStream(held, request);
      if (!bytes) return;
      socket.off("data", onData);
      socket.pause();
      socket.unshift(bytes);
      const session = performServerHandshake(socket);
      session.on("error", () => undefined);
      session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
        seen.push(`${stream.id} ${headers[":path"]}`);
        stream.respond({ ":status": 200, "x-path": headers[":path"] });
        stream.end("hello");
      });
    };
    const onData = (chunk: Buffer) => {
      if (request !== undefined) {
        held = Buffer.concat([held, chunk]);
        begin();
        return;
      }
      heads.hold(chunk);
      const head = heads.next();
      if (head === undefined || "status" in head) return;
      const parsed = parseRequestHead(head.text, DEFAULT_HTTP_LIMITS);
      if ("status" in parsed) return;
      request = parsed;
      held = Buffer.from(head.input.subarray(head.end));
      socket.write(AGREED);
      begin();
    };
    socket.on("data", onData);
  };
}

/**
 * The bytes of a client that has changed to HTTP/2, with its first request put where stream 1 begins; undefined until its preface and first
 * SETTINGS are there, null when they are something else.
 */
function withFirstStream(input: Buffer, request: RequestHead): Buffer | undefined | null {
  if (!PREFACE.subarray(0, input.length).equals(input.subarray(0, PREFACE.length))) return null;
  const at = PREFACE.length;
  if (input.length < at + FRAME_HEAD) return undefined;
  const end = at + FRAME_HEAD + input.readUIntBE(at, 3);
  if (input[at + 3] !== SETTINGS || end > at + FRAME_HEAD + MAX_FRAME) return null;
  if (input.length < end) return undefined;
  return Buffer.concat([input.subarray(0, end), firstStream(request), input.subarray(end)]);
}

/** The request as the HEADERS of stream 1, which must fit into one frame. */
function firstStream(request: RequestHead): Buffer {
  const pseudo = { ":method": request.method, ":scheme": "http", ":path": request.path, ":authority": request.host };
  const kept = request.headers.filter(({ name }) => !DROPPED.has(name));
  const fields = [...Object.entries(pseudo).map(([name, value]) => ({ name, value })), ...kept];
  const block = Buffer.concat(fields.flatMap(({ name, value }) => [LITERAL, hpackText(name), hpackText(value)]));
  const head = Buffer.alloc(FRAME_HEAD);
  head.writeUIntBE(block.length, 0, 3);
  head[3] = HEADERS;
  head[4] = END_STREAM | END_HEADERS;
  head[8] = 1;
  return Buffer.concat([head, block]);
}

/** RFC 7541 §5.2, without Huffman coding. */
function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  let rest = bytes.length;
  if (rest < 127) length.push(rest);
  else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest = Math.floor(rest / 128)) length.push(128 | (rest & 127));
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** The connection to a server that has changed to HTTP/2: `read` comes before what it sends, and what we would say of stream 1 stays away. */
export function withoutFirstStream(socket: Socket, read: Buffer): Duplex {
  const filter = new FirstStreamFilter();
  const made = new Duplex({
    allowHalfOpen: true,
    read: () => void socket.resume(),
    write(chunk: Buffer, _encoding, done) {
      const bytes = filter.pass(chunk);
      if (bytes.length === 0 || socket.write(bytes)) done();
      else socket.once("drain", done);
    },
    final(done) {
      socket.end(done);
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  if (read.length > 0) made.push(read);
  socket.on("data", (chunk: Buffer) => {
    if (!made.push(chunk)) socket.pause();
  });
  socket.on("end", () => made.push(null));
  socket.on("error", (error) => made.destroy(error));
  socket.on("close", () => made.destroy());
  return made;
}

/** Takes the header block of stream 1 out of what a client of HTTP/2 sends. Its compression must not depend on that block. */
class FirstStreamFilter {
  #held: Buffer = Buffer.alloc(0);
  #begun = false;
  #done = false;

  pass(chunk: Buffer): Buffer {
    if (this.#done) return chunk;
    this.#held = Buffer.concat([this.#held, chunk]);
    const out: Buffer[] = [];
    if (!this.#begun) {
      if (this.#held.length < PREFACE.length) return Buffer.alloc(0);
      this.#begun = true;
      out.push(this.#take(PREFACE.length));
    }
    while (!this.#done && this.#held.length >= FRAME_HEAD) {
      const size = FRAME_HEAD + this.#held.readUIntBE(0, 3);
      if (this.#held.length < size) break;
      const frame = this.#take(size);
      const isFirst = (frame[3] === HEADERS || frame[3] === CONTINUATION) && frame.readUInt32BE(5) === 1;
      if (!isFirst) out.push(frame);
      else this.#done = ((frame[4] ?? 0) & END_HEADERS) !== 0;
    }
    if (this.#done) out.push(this.#take(this.#held.length));
    return Buffer.concat(out);
  }

  #take(count: number): Buffer {
    const taken = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return taken;
  }
}
