import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { anyPeer, collect, exchange, policyOf, startLoopback } from "../testing/loopback.ts";

const GET_ONLY = policyOf([anyPeer({ method: "GET", path: "/public.*" })]);
const EVERYTHING = policyOf([{ identities: null, http: null, origins: [] }]);
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: web\r\n${more}\r\n`;

describe("connection: servers", () => {
  it("answers 503 in Envoy's words when the server refuses", async () => {
    const answer = await exchange({ policy: EVERYTHING, serve: echoServer([]), serverPort: 1 }, get("/"));
    assert.match(answer, /^HTTP\/1\.1 503 Service Unavailable\r\n/);
    assert.match(answer, /upstream connect error or disconnect\/reset before headers\. reset reason: .*Connection refused$/);
  });

  it("answers 503 when the server hangs up instead of answering", async () => {
    const serve = (socket: Socket) => void socket.once("data", () => socket.end());
    assert.match(await exchange({ policy: EVERYTHING, serve }, get("/")), /^HTTP\/1\.1 503 .*\r\n[\s\S]*connection termination$/);
  });

  it("answers 504 when the server says nothing for too long", async () => {
    const answer = await exchange({ policy: EVERYTHING, serve: () => undefined, timeouts: { response: 30 } }, get("/"));
    assert.match(answer, /^HTTP\/1\.1 504 /);
  });

  for (const [name, reply] of [
    ["an answer that is not HTTP", "SSH-2.0-x\r\n\r\n"],
    ["contradictory framing", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"],
    ["endless interim answers", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40)],
  ] as const) {
    it(`answers 502 to ${name}`, async () => {
      const answer = await exchange({ policy: EVERYTHING, serve: echoServer([], () => reply) }, get("/"));
      assert.match(answer, /HTTP\/1\.1 502 /);
    });
  }

  it("ends a truncated answer and passes a reset on", async () => {
    const truncated = (socket: Socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
    assert.ok((await exchange({ policy: EVERYTHING, serve: truncated }, get("/"))).endsWith("half"));
    await using proxy = await startLoopback({
      policy: EVERYTHING,
      serve: (socket) => {
        socket.once("data", () => {
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
          socket.once("data", () => socket.resetAndDestroy());
        });
      },
    });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(`POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\n`);
    await answer.until("half");
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => client.once("error", resolve));
    client.write("abcd");
    assert.equal((await failed).code, "ECONNRESET");
  });

  it("closes the client's connection when an idle server closes its own", async () => {
    await using proxy = await startLoopback({
      policy: EVERYTHING,
      serve: echoServer([], (_line, socket) => void setImmediate(() => socket.end())),
    });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(get("/"));
    assert.ok((await answer.ended).endsWith("GET / HTTP/1.1"));
  });

  it("drops what a server says unasked", async () => {
    const reply = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    const answer = await exchange({ policy: EVERYTHING, serve: echoServer([], () => reply) }, get("/1") + get("/2"));
    assert.equal(answer.includes("evil"), false);
  });
});

describe("connection: tunnels", () => {
  const upgrade = get("/public/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
  const switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  const tunnelServer = (head: string) => (socket: Socket) => {
    socket.once("data", (first: Buffer) => {
      const rest = first.subarray(first.indexOf("\r\n\r\n") + 4);
      socket.write(head);
      if (rest.length > 0) socket.write(`<${rest}>`);
      socket.on("data", (chunk: Buffer) => socket.write(`<${chunk}>`));
    });
    socket.on("end", () => socket.end("bye"));
  };

  it("carries raw bytes after 101, and each end's close", async () => {
    await using proxy = await startLoopback({ policy: GET_ONLY, serve: tunnelServer(`${switched}hi`) });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(upgrade);
    await answer.until("hi");
    client.write("GET /private HTTP/1.1\n\n");
    await answer.until("<GET /private HTTP/1.1\n\n>");
    client.end();
    assert.ok((await answer.ended).endsWith("bye"));
  });

  it("judges requests sent behind an upgrade that the server declines", async () => {
    const seen: string[] = [];
    const answer = await exchange({ policy: GET_ONLY, serve: echoServer(seen) }, upgrade + get("/private"));
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 403"]);
    assert.equal(seen.join(""), upgrade);
  });

  it("carries CONNECT after the server agreed", async () => {
    const policy = policyOf([anyPeer({ method: "CONNECT", host: "db:5432" })]);
    await using proxy = await startLoopback({ policy, serve: tunnelServer("HTTP/1.1 200 OK\r\n\r\n") });
    const client = await proxy.open();
    const answer = collect(client);
    client.write("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n");
    await answer.until("\r\n\r\n");
    client.write("raw");
    assert.ok((await answer.until("<raw>")).endsWith("<raw>"));
    client.destroy();
  });
});
