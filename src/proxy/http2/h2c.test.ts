import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { HeadReader } from "../http/head-reader.ts";
import { DEFAULT_HTTP_LIMITS } from "../http/limits.ts";
import { parseRequestHead, type RequestHead } from "../http/request-head.ts";
import { echoServer } from "../testing/echo-server.ts";
import { anyPeer, collect, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";
import { FirstStreamFilter, firstStream, withFirstStream, withoutFirstStream } from "./h2c.ts";

const POLICY = policyOf([anyPeer({ method: "GET", path: "/public.*" })]);
const UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: web\r\n${UPGRADE}X-Long: ${"v".repeat(300)}\r\n\r\n`;
const AGREED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

function headOf(text: string): RequestHead {
  const head = parseRequestHead(text, DEFAULT_HTTP_LIMITS);
  assert.ok(!("status" in head), JSON.stringify(head));
  return head;
}

/** A server that agrees to go on with HTTP/2, and says which path and stream it saw. */
function upgrading(seen: string[]): (socket: Socket) => void {
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
      request = headOf(head.text);
      held = Buffer.from(head.input.subarray(head.end));
      socket.write(AGREED);
      begin();
    };
    socket.on("data", onData);
  };
}

/** Asks for HTTP/2 in HTTP/1.1, then for `more` in HTTP/2; gives what came for each. */
async function upgrade(proxy: Loopback, path: string, ...more: readonly string[]): Promise<string[]> {
  const socket = await proxy.open();
  const answers = collect(socket);
  socket.write(ask(path));
  const first = await answers.until("\r\n\r\n");
  if (!first.startsWith(AGREED)) return [first.slice(0, 12)];
  socket.removeAllListeners("data");
  const rest = Buffer.from(first.slice(AGREED.length), "latin1");
  const session = connect("http://web", { createConnection: () => withoutFirstStream(socket, rest), maxDeflateDynamicTableSize: 0 });
  session.on("error", () => undefined);
  const got: string[] = [];
  for (const wanted of [path, ...more]) {
    const stream = session.request({ ":path": wanted, ":authority": "web", "x-long": "v".repeat(300) });
    stream.resume();
    const closed = once(stream, "close");
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    got.push(`${stream.id} ${headers[":status"]} ${headers["x-path"] ?? ""}`);
    await closed;
  }
  session.destroy();
  return got;
}

describe("upgrade to HTTP/2", () => {
  it("goes on in HTTP/2 when the server agrees, and judges every further stream", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: POLICY, serve: upgrading(seen) });
    assert.deepEqual(await upgrade(proxy, "/public/1", "/private", "/public/2"), ["1 200 /public/1", "3 403 ", "5 200 /public/2"]);
    assert.deepEqual(seen, ["1 /public/1", "3 /public/2"]);
    assert.deepEqual(
      proxy.records.map(({ kind, verdict, http }) => `${kind} ${verdict} ${http.url} ${http.code}`),
      [
        ...["request FORWARDED http://web/public/1 0", "response FORWARDED http://web/public/1 200"],
        "request DROPPED http://web/private 403",
        ...["request FORWARDED http://web/public/2 0", "response FORWARDED http://web/public/2 200"],
      ],
    );
  });

  it("is denied as the HTTP/1.1 request that it is", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: POLICY, serve: upgrading(seen) });
    assert.deepEqual([await upgrade(proxy, "/private"), seen], [["HTTP/1.1 403"], []]);
  });

  it("stays HTTP/1.1 when the server does not agree", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
    assert.deepEqual(await upgrade(proxy, "/public"), ["HTTP/1.1 200"]);
  });

  it("ends when the client goes on with something else", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: upgrading([]) });
    const socket = await proxy.open();
    const answers = collect(socket);
    socket.write(ask("/public"));
    await answers.until("\r\n\r\n");
    socket.write("GET /private HTTP/1.1\r\nHost: web\r\n\r\n");
    assert.doesNotMatch(await answers.ended, /HTTP\/1\.1 200/);
  });
});

describe("first stream", () => {
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const settings = Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
  const later = Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 3, 7]);
  const stream1 = firstStream(headOf(ask("/"))) ?? Buffer.alloc(0);

  it("comes behind the client's settings, however they are cut", () => {
    const whole = Buffer.concat([preface, settings]);
    for (let end = 0; end < whole.length; end++) assert.equal(withFirstStream(whole.subarray(0, end), headOf(ask("/"))), undefined);
    assert.deepEqual(withFirstStream(Buffer.concat([whole, later]), headOf(ask("/"))), Buffer.concat([whole, stream1, later]));
    assert.equal(withFirstStream(Buffer.concat([preface, later]), headOf(ask("/"))), null);
  });

  it("stays away from the server, however it is cut", () => {
    const sent = Buffer.concat([preface, settings, stream1, later, stream1]);
    const wanted = Buffer.concat([preface, settings, later, stream1]);
    for (let cut = 0; cut <= sent.length; cut++) {
      const filter = new FirstStreamFilter();
      assert.deepEqual(Buffer.concat([filter.pass(sent.subarray(0, cut)), filter.pass(sent.subarray(cut))]), wanted);
    }
  });
});
