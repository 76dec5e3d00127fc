import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { collect, policyOf, startLoopback } from "../testing/loopback.ts";

const EVERYTHING = policyOf([{ identities: null, http: null, origins: [] }]);
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: web\r\n${more}\r\n`;

describe("connection: that is to stop", () => {
  const LAST = /^HTTP\/1\.1 200 OK\r\nContent-Length: \d+\r\nconnection: close\r\n\r\n/;

  it("finishes what is under way, and tells the client that it ends then", async () => {
    const replies: (() => void)[] = [];
    const serve = echoServer([], (_line, socket) => {
      replies.push(() => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: timeout=5\r\n\r\ndone"));
      return "";
    });
    await using proxy = await startLoopback({ policy: EVERYTHING, serve });
    const busy = await proxy.open();
    const answer = collect(busy);
    busy.write(get("/"));
    while (replies.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const drained = proxy.drain(5000);
    replies[0]?.();
    assert.match(await answer.ended, LAST);
    assert.ok(answer.text.endsWith("done"));
    busy.end();
    await drained;
    assert.equal(proxy.connections, 0);
  });

  it("serves the request that was on its way, of new connections and of used ones", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), timeouts: { last: 60_000 } });
    const [fresh, used] = await Promise.all([proxy.open(), proxy.open()]);
    const before = collect(used);
    used.write(get("/before"));
    await before.until("/before");
    while (proxy.connections < 2) await new Promise((resolve) => setImmediate(resolve));
    const drained = proxy.drain(60_000);
    const answers = [fresh, used].map((socket) => {
      const answer = collect(socket);
      socket.write(get("/last"));
      return answer.ended;
    });
    for (const answer of await Promise.all(answers)) assert.match(answer, LAST);
    for (const socket of [fresh, used]) socket.end();
    await drained;
  });

  it("tells also a client whose answer had begun, with the next", async () => {
    const rest: (() => void)[] = [];
    const serve = echoServer([], (line, socket) => {
      if (!line.includes("/slow")) return undefined;
      rest.push(() => void socket.write("rest"));
      return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    });
    await using proxy = await startLoopback({ policy: EVERYTHING, serve, timeouts: { last: 60_000 } });
    const client = await proxy.open();
    const first = collect(client);
    client.write(get("/slow"));
    await first.until("\r\n\r\n");
    const drained = proxy.drain(60_000);
    rest[0]?.();
    await first.until("rest");
    const second = collect(client);
    client.write(get("/next"));
    assert.match(await second.ended, LAST);
    client.end();
    await drained;
  });

  it("closes a connection that stays silent", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), timeouts: { last: 20 } });
    const silent = await proxy.open();
    const end = collect(silent).ended;
    while (proxy.connections === 0) await new Promise((resolve) => setImmediate(resolve));
    const drained = proxy.drain(60_000);
    assert.equal(await end, "");
    silent.end();
    await drained;
  });

  it("lets a tunnel go on until an end closes it, and cuts it when it has waited long enough", async () => {
    const serve = (socket: Socket) => {
      let isTunnel = false;
      socket.on("data", (chunk: Buffer) => {
        socket.write(isTunnel ? chunk : "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        isTunnel = true;
      });
      socket.on("end", () => socket.end());
    };
    for (const patience of [60_000, 0]) {
      await using proxy = await startLoopback({ policy: EVERYTHING, serve, timeouts: { last: 20 } });
      const client = await proxy.open();
      const answer = collect(client);
      client.write(get("/", "Connection: upgrade\r\nUpgrade: websocket\r\n"));
      await answer.until("\r\n\r\n");
      const drained = proxy.drain(patience);
      if (patience > 0) {
        client.write("while it stops");
        await answer.until("while it stops");
        client.end();
      }
      await Promise.all([answer.ended, drained]);
    }
  });
});
