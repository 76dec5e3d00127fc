import { Duplex } from "node:stream";
import { createHeaderCodec, type Headers } from "./spdy-headers.ts";

/**
 * The server's side of a SPDY/3.1 connection, as far as Kubernetes clients use it: streams opened by the client, data both
 * ways, half-closing, ping. There is no flow control in this dialect; a stream whose reader is slow stops the connection.
 */
export interface SpdySession {
  /** A connection-wide end; streams end with it. */
  close(): void;
  readonly closed: Promise<void>;
}

export interface SpdyStream {
  readonly id: number;
  /** Names in lower case. */
  readonly headers: Headers;
  readonly duplex: Duplex;
}

const TYPE = { synStream: 1, synReply: 2, reset: 3, settings: 4, ping: 6, goAway: 7 } as const;
const FIN = 1;
const VERSION = 0x8003;
const MAX_STREAMS = 1000;

interface Connection {
  readonly transport: Duplex;
  readonly codec: ReturnType<typeof createHeaderCodec>;
  readonly streams: Map<number, Duplex>;
  readonly onStream: (stream: SpdyStream) => void;
  /** Header blocks are written one after the other. */
  replies: Promise<void>;
}

/** Speaks SPDY over the transport; `onStream` gets each stream that the client opens. */
export function startSpdySession(transport: Duplex, onStream: (stream: SpdyStream) => void): SpdySession {
  const connection: Connection = { transport, codec: createHeaderCodec(), streams: new Map(), onStream, replies: Promise.resolve() };
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => {
    for (const stream of connection.streams.values()) stream.destroy();
    connection.streams.clear();
    connection.codec.close();
    transport.destroy();
    resolve();
  };
  transport.on("error", end);
  transport.on("close", end);
  // A client that breaks the protocol loses its connection, which tells it all it needs to know.
  readFrames(connection).then(end, end);
  return { close: end, closed: promise };
}

async function readFrames(connection: Connection): Promise<void> {
  let pending: Buffer = Buffer.alloc(0);
  for await (const chunk of connection.transport as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= 8) {
      const size = 8 + pending.readUIntBE(5, 3);
      if (pending.length < size) break;
      await handleFrame(connection, pending.subarray(0, size));
      pending = pending.subarray(size);
    }
  }
}

async function handleFrame(connection: Connection, frame: Buffer): Promise<void> {
  const flags = frame.readUInt8(4);
  const body = frame.subarray(8);
  if (frame.readUInt8(0) < 0x80) return receiveData(connection, frame.readUInt32BE(0), body, flags);
  const type = frame.readUInt16BE(2);
  if (type === TYPE.synStream) await openStream(connection, body, flags);
  else if (type === TYPE.ping) connection.transport.write(frame);
  else if (type === TYPE.reset) connection.streams.get(body.readUInt32BE(0) & 0x7fffffff)?.destroy();
}

async function openStream(connection: Connection, body: Buffer, flags: number): Promise<void> {
  const id = body.readUInt32BE(0) & 0x7fffffff;
  const headers = await connection.codec.decode(body.subarray(10));
  if (connection.streams.has(id) || connection.streams.size >= MAX_STREAMS) throw new RangeError(`stream ${id} cannot be opened`);
  const duplex = createStream(connection, id);
  connection.streams.set(id, duplex);
  connection.replies = connection.replies.then(async () => {
    const block = await connection.codec.encode({});
    connection.transport.write(control(TYPE.synReply, 0, Buffer.concat([uint32(id), block])));
  });
  await connection.replies;
  if (flags & FIN) duplex.push(null);
  connection.onStream({ id, headers, duplex });
}

function createStream(connection: Connection, id: number): Duplex {
  const { transport, streams } = connection;
  const send = (chunk: Buffer, flags: number, done: () => void) => {
    if (transport.destroyed) return done();
    const head = Buffer.alloc(8);
    head.writeUInt32BE(id);
    head.writeUInt32BE(chunk.length, 4);
    head.writeUInt8(flags, 4);
    if (transport.write(Buffer.concat([head, chunk]))) done();
    else transport.once("drain", done);
  };
  const stream = new Duplex({
    read() {
      stream.emit("wanted");
    },
    write: (chunk: Buffer, _encoding, done) => writeSlices(chunk, (slice, next) => send(slice, 0, next), done),
    final: (done) => send(Buffer.alloc(0), FIN, done),
    destroy(error, done) {
      streams.delete(id);
      done(error);
    },
  });
  stream.on("error", () => undefined);
  return stream;
}

/** A frame holds less than 16 MiB; slices keep one stream from holding up the others. */
const SLICE = 64 * 1024;

function writeSlices(chunk: Buffer, send: (slice: Buffer, next: () => void) => void, done: () => void): void {
  send(chunk.subarray(0, SLICE), () => (chunk.length > SLICE ? writeSlices(chunk.subarray(SLICE), send, done) : done()));
}

/** Waits while the stream's reader is behind: that holds back the client by the transport itself. */
async function receiveData(connection: Connection, id: number, body: Buffer, flags: number): Promise<void> {
  const stream = connection.streams.get(id);
  if (!stream || stream.readableEnded) return;
  // The frame's memory belongs to the transport's buffer; the stream keeps a part of it, which is fine.
  const room = body.length === 0 || stream.push(body);
  if (flags & FIN) stream.push(null);
  else if (!room && stream.readableLength > 1024 * 1024) {
    await new Promise<void>((resolve) => {
      stream.once("wanted", resolve);
      stream.once("close", resolve);
    });
  }
}

function control(type: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(VERSION);
  head.writeUInt16BE(type, 2);
  head.writeUInt32BE(body.length, 4);
  head.writeUInt8(flags, 4);
  return Buffer.concat([head, body]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
