import assert from "node:assert/strict";
import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { anyPeer, collect, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const POLICY = policyOf([anyPeer({ method: "GET", path: "/public.*" }, { method: "POST", path: "/echo.Echo/Say" })]);
const GRPC = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: string;
  readonly rstCode: number | undefined;
}

/** Serves HTTP/2 on plain sockets. */
function serveHttp2(onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void): (socket: Socket) => void {
  return (socket) => {
    const session = performServerHandshake(socket);
    session.on("error", () => undefined);
    session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.on("error", () => undefined);
      onStream(stream, headers);
    });
  };
}

/** Echoes the body and says what it saw; trailers when it was asked as gRPC. */
const echo = serveHttp2((stream, headers) => {
  const grpc = headers["content-type"] === "application/grpc";
  stream.respond({ ":status": 200, "x-path": headers[":path"], "x-role": headers["x-role"] ?? "" }, { waitForTrailers: grpc });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.pipe(stream);
});

async function openHttp2(proxy: Loopback): Promise<ClientHttp2Session & AsyncDisposable> {
  const socket = await proxy.open();
  const session = connect("http://web", { createConnection: () => socket });
  session.on("error", () => undefined);
  return Object.assign(session, { [Symbol.asyncDispose]: async () => session.destroy() });
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string): Promise<Answer> {
  const stream = session.request({ ":authority": "web", ...headers }, { endStream: body === undefined });
  let [answered, trailers, text]: [IncomingHttpHeaders, IncomingHttpHeaders, string] = [{}, {}, ""];
  stream.on("error", () => undefined);
  stream.on("response", (received) => {
    answered = received;
  });
  stream.on("trailers", (received: IncomingHttpHeaders) => {
    trailers = received;
  });
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  if (body !== undefined) stream.end(body);
  return new Promise((resolve) => {
    stream.on("close", () => resolve({ headers: answered, trailers, body: text, rstCode: stream.rstCode }));
  });
}

describe("http2", () => {
  it("judges every stream by itself", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echo });
    await using session = await openHttp2(proxy);
    const [allowed, denied, again] = await Promise.all([
      ask(session, { ":path": "/public/a" }),
      ask(session, { ":path": "/private" }),
      ask(session, { ":path": "/public/b" }),
    ]);
    assert.equal(allowed?.headers["x-path"], "/public/a");
    assert.equal(denied?.headers[":status"], 403);
    assert.equal(denied?.body, "Access denied\r\n");
    assert.equal(again?.headers["x-path"], "/public/b");
    assert.deepEqual(
      proxy.records.map(({ http }) => http.protocol).filter((protocol) => protocol !== "HTTP/2"),
      [],
    );
    assert.deepEqual(
      proxy.records.filter(({ verdict }) => verdict === "DROPPED").map(({ http }) => [http.method, http.url, http.code]),
      [["GET", "http://web/private", 403]],
    );
  });

  it("carries gRPC calls with their trailers, and denies with status 7", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echo });
    await using session = await openHttp2(proxy);
    const call = await ask(session, { ...GRPC, ":path": "/echo.Echo/Say" }, "hello");
    assert.deepEqual([call.headers[":status"], call.body, call.trailers["grpc-status"]], [200, "hello", "0"]);
    const denied = await ask(session, { ...GRPC, ":path": "/echo.Echo/Shout" }, "hello");
    assert.deepEqual([denied.headers[":status"], denied.headers["grpc-status"], denied.body], [200, "7", ""]);
    assert.equal(decodeURIComponent(String(denied.headers["grpc-message"])), "Access denied");
  });

  it("carries large bodies both ways", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echo });
    await using session = await openHttp2(proxy);
    const body = "x".repeat(3_000_000);
    assert.equal((await ask(session, { ...GRPC, ":path": "/echo.Echo/Say" }, body)).body.length, body.length);
  });

  it("refuses what servers read in different ways", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echo });
    await using session = await openHttp2(proxy);
    for (const [headers, code] of [
      [{ ":path": "/public/../admin" }, 403],
      [{ ":path": "/public/%2e%2e/admin" }, 403],
      [{ ":path": "/public#x" }, 400],
      [{ ":path": "/public/\xe9" }, 400],
      [{ ":path": "/public%00" }, 400],
      [{ ":path": "/public", host: "other" }, 400],
    ] as const) {
      assert.equal((await ask(session, headers)).headers[":status"], code, JSON.stringify(headers));
    }
  });

  it("changes headers as the rules ask", async () => {
    const headerMatches = [{ name: "X-Role", value: "user", mismatch: "REPLACE" }] as const;
    await using proxy = await startLoopback({ policy: policyOf([anyPeer({ headerMatches })]), serve: echo });
    await using session = await openHttp2(proxy);
    assert.equal((await ask(session, { ":path": "/", "x-role": "admin", x_role: "root" })).headers["x-role"], "user");
  });

  it("passes resets on, both ways", async () => {
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    const serve = serveHttp2((stream, headers) => {
      if (headers[":path"] === "/public/reset") {
        // Without an end of the body that goes out before the reset.
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.write("x", () => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM));
        return;
      }
      stream.on("close", () => resolve(stream.rstCode));
    });
    await using proxy = await startLoopback({ policy: POLICY, serve });
    await using session = await openHttp2(proxy);
    assert.equal((await ask(session, { ":path": "/public/reset" })).rstCode, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    const stream = session.request({ ":path": "/public/hang", ":authority": "web" });
    stream.on("error", () => undefined);
    while (proxy.records.length < 3) await new Promise((again) => setImmediate(again));
    stream.close(constants.NGHTTP2_CANCEL);
    assert.equal(await promise, constants.NGHTTP2_CANCEL);
  });

  it("answers 503, or gRPC status 14, when the server cannot be reached", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echo, serverPort: 1 });
    await using session = await openHttp2(proxy);
    const plain = await ask(session, { ":path": "/public" });
    assert.equal(plain.headers[":status"], 503);
    assert.match(plain.body, /upstream connect error.*Connection refused/);
    const call = await ask(session, { ...GRPC, ":path": "/echo.Echo/Say" }, "x");
    assert.equal(call.headers["grpc-status"], "14");
  });

  it("answers 503 when the server speaks no HTTP/2", async () => {
    const serve = (socket: Socket) => void socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await using proxy = await startLoopback({ policy: POLICY, serve });
    await using session = await openHttp2(proxy);
    assert.equal((await ask(session, { ":path": "/public" })).headers[":status"], 503);
  });

  it("judges open connections by the new policy, and cuts them when it does not know them", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echo });
    await using session = await openHttp2(proxy);
    assert.equal((await ask(session, { ":path": "/public" })).headers[":status"], 200);
    proxy.setPolicy(policyOf([anyPeer({ path: "/other" })], 2));
    assert.equal((await ask(session, { ":path": "/public" })).headers[":status"], 403);
    const closed = once(session, "close");
    proxy.setPolicy({ type: "policy", revision: 3, endpoints: [] });
    await closed;
    while (proxy.connections > 0) await new Promise((again) => setImmediate(again));
  });

  it("takes the preface only at the start of a connection", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: () => undefined });
    const client = await proxy.open();
    const answers = collect(client);
    client.end("GET /private HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert.deepEqual((await answers.ended).match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 403", "HTTP/1.1 505"]);
  });
});

describe("http2: CONNECT", () => {
  const tunnel = serveHttp2((stream, headers) => {
    stream.respond({ ":status": 200, "x-authority": headers[":authority"] });
    stream.pipe(stream);
  });
  const policy = policyOf([anyPeer({ method: "CONNECT", host: "db:5432" })]);
  for (const [authority, status, body] of [
    ["db:5432", 200, "raw\x00bytes"],
    ["other:5432", 403, "Access denied\r\n"],
    ["db", 400, "CONNECT without a port\r\n"],
  ] as const) {
    it(`answers ${status} to a tunnel to ${authority}`, async () => {
      await using proxy = await startLoopback({ policy, serve: tunnel });
      await using session = await openHttp2(proxy);
      const stream = session.request({ ":method": "CONNECT", ":authority": authority }, { endStream: false });
      stream.on("error", () => undefined);
      const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
      let text = "";
      stream.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
      });
      stream.end("raw\x00bytes");
      await once(stream, "end");
      assert.deepEqual([headers[":status"], text], [status, body]);
    });
  }
});
