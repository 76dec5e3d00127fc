import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { anyPeer, collect, exchange, policyOf, startLoopback } from "../testing/loopback.ts";

const POLICY = policyOf([anyPeer({ path: "/public.*" }, { method: "CONNECT" })]);
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: web\r\n${more}\r\n`;
const post = (body: string) => `POST /public HTTP/1.1\r\nHost: web\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const ok = (body: string, more = "") => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;
const codes = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, code]) => Number(code));
const SMUGGLED = get("/private");
const WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

describe("attacks over several requests", () => {
  it("takes no body for a request, however often the same head comes", async () => {
    const body = `${SMUGGLED}${SMUGGLED}`;
    const seen: string[] = [];
    const answer = await exchange({ policy: POLICY, serve: echoServer(seen) }, post(body).repeat(50));
    assert.deepEqual(codes(answer), Array(50).fill(200));
    assert.equal(seen.join(""), post(body).repeat(50));
  });

  it("ends both connections behind a body that servers may not read", async () => {
    for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"]) {
      const head = `${method} /public HTTP/1.1\r\nHost: web\r\nContent-Length: ${SMUGGLED.length}\r\n`;
      const seen: string[] = [];
      // Answers at the end of the head, and would go on with what follows, were it not told to end.
      const careless = (socket: Socket) =>
        socket.on("data", (chunk: Buffer) => {
          if (seen.push(chunk.toString("latin1")) > 1) return;
          socket.write(ok("").replace("200", "204"));
        });
      const answer = await exchange({ policy: POLICY, serve: careless }, `${head}\r\n${SMUGGLED}${get("/public")}`);
      assert.deepEqual([codes(answer), seen.join("")], [[204], `${head}connection: close\r\n\r\n${SMUGGLED}`]);
      assert.match(answer, /\r\nconnection: close\r\n/);
    }
  });

  it("ends both connections where a server answers without waiting for the body that it was offered", async () => {
    const seen: string[] = [];
    const head = `POST /public HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n`;
    const early = (socket: Socket) =>
      socket.on("data", (chunk: Buffer) => seen.push(chunk.toString("latin1")) === 1 && socket.write(ok("")));
    await using proxy = await startLoopback({ policy: POLICY, serve: early });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(head);
    await answer.until("\r\n\r\n");
    client.end(SMUGGLED + get("/public"));
    assert.match(await answer.ended, /^HTTP\/1\.1 200 [\s\S]*\r\nconnection: close\r\n\r\n$/);
    assert.equal(seen.join(""), head);
  });

  it("judges what comes behind a repeated head, wherever segments end", async () => {
    const text = get("/public") + get("/public") + SMUGGLED + get("/public") + get("/publicly", "X-A: b\r\n");
    const wanted = get("/public").repeat(3) + get("/publicly", "X-A: b\r\n");
    for (let cut = 1; cut < text.length; cut += 3) {
      const seen: string[] = [];
      await using proxy = await startLoopback({ policy: POLICY, serve: echoServer(seen) });
      const client = await proxy.open();
      client.setNoDelay(true);
      const answer = collect(client);
      client.write(text.slice(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      client.end(text.slice(cut));
      assert.deepEqual([codes(await answer.ended), seen.join("")], [[200, 200, 403, 200, 200], wanted], `cut at ${cut}`);
    }
  });

  it("does not let a repeated head live longer than its policy", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
    const client = await proxy.open();
    const answer = collect(client);
    for (const [revision, path, code] of [
      [2, "/public", 200],
      [3, "/private", 403],
      [4, "/public", 200],
    ] as const) {
      proxy.setPolicy(policyOf([anyPeer({ path })], revision));
      const before = codes(answer.text).length;
      client.write(get("/public"));
      while (codes(answer.text).length === before) await once(client, "data");
      assert.equal(codes(answer.text).at(-1), code);
    }
    client.destroy();
  });

  for (const [name, head] of [
    ["WebSocket that the server refuses", get("/public", WEBSOCKET)],
    ["WebSocket of a wrong version", get("/public", `${WEBSOCKET}Sec-WebSocket-Version: 777\r\n`)],
    ["an upgrade with a body", `POST /public HTTP/1.1\r\nHost: web\r\n${WEBSOCKET}Content-Length: 2\r\n\r\nhi`],
    ["h2c without settings", get("/public", "Connection: Upgrade\r\nUpgrade: h2c\r\n")],
  ] as const) {
    it(`opens no tunnel by ${name}`, async () => {
      const seen: string[] = [];
      const answer = await exchange({ policy: POLICY, serve: echoServer(seen, () => ok("no")) }, head + SMUGGLED);
      assert.deepEqual(codes(answer), [200, 403]);
      assert.equal(seen.join("").includes("/private"), false);
    });
  }

  it("opens no tunnel by CONNECT that the server refuses", async () => {
    const seen: string[] = [];
    const refuse = () => "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n";
    const answer = await exchange(
      { policy: POLICY, serve: echoServer(seen, refuse) },
      `CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n${SMUGGLED}`,
    );
    assert.deepEqual(codes(answer), [405, 403]);
    assert.equal(seen.join("").includes("/private"), false);
  });

  it("opens no tunnel by 101 to a request that asked for none, nor by 200 to one", async () => {
    for (const reply of ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", ok("", "Upgrade: websocket\r\n")]) {
      const seen: string[] = [];
      const answer = await exchange({ policy: POLICY, serve: echoServer(seen, () => reply) }, get("/public") + SMUGGLED);
      assert.equal(seen.join("").includes("/private"), false, answer);
    }
  });
});

/** A server that says these, each when so many requests have come. */
function saying(...lines: readonly string[]): (socket: Socket) => void {
  return (socket) => {
    let said = 0;
    socket.on("data", (chunk: Buffer) => {
      for (let n = chunk.toString("latin1").split("\r\n\r\n").length - 1; n > 0; n--) socket.write(lines[said++] ?? ok("later"), "latin1");
    });
  };
}

describe("servers that say more than they were asked", () => {
  for (const [name, first] of [
    ["two answers at once", ok("one") + ok("poison")],
    ["an answer longer than its length", `${ok("one")}poison`],
    ["a body behind 204", "HTTP/1.1 204 No Content\r\n\r\npoison"],
    ["a body behind 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison"],
  ] as const) {
    it(`gives nobody ${name}`, async () => {
      await using proxy = await startLoopback({ policy: POLICY, serve: saying(first) });
      const client = await proxy.open();
      const answer = collect(client);
      client.write(get("/public"));
      // The connection ends with the answer; the next request needs a new one.
      assert.equal((await answer.ended).includes("poison"), false);
      assert.equal(codes(answer.text).length, 1);
    });
  }

  it("gives nobody a body behind HEAD", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: saying(ok("poison")) });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(`HEAD /public HTTP/1.1\r\nHost: web\r\n\r\n`);
    assert.equal((await answer.ended).includes("poison"), false);
  });

  it("gives nobody an answer that came before its request", async () => {
    const unasked = (socket: Socket) =>
      void socket.once("data", () => socket.write(ok("one"), () => setTimeout(() => socket.write(ok("poison")), 5)));
    await using proxy = await startLoopback({ policy: POLICY, serve: unasked });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(get("/public"));
    assert.equal((await answer.ended).includes("poison"), false);
  });

  for (const [name, reply] of [
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"],
    ["a folded header", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"],
    ["a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"],
    ["a code of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"],
    ["chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a head without end", `HTTP/1.1 200 OK\r\n${"X-A: b\r\n".repeat(10_000)}`],
  ] as const) {
    it(`answers 502 for an answer with ${name}`, async () => {
      const answer = await exchange({ policy: POLICY, serve: saying(reply) }, get("/public"));
      assert.match(answer, /^HTTP\/1\.1 502 /);
    });
  }
});

describe("clients that take or give too little", () => {
  it("holds little of an answer that its client does not read", async () => {
    let written = 0;
    const size = 64 << 20;
    const serve = (socket: Socket) => {
      socket.on("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        const more = () => {
          while (written < size && socket.write(Buffer.alloc(1 << 16, "x"))) written += 1 << 16;
        };
        socket.on("drain", more);
        more();
      });
    };
    await using proxy = await startLoopback({ policy: POLICY, serve });
    const client = await proxy.open();
    client.pause();
    client.write(get("/public"));
    // Until it stands still: what lies in the kernel's buffers on the way is all there is.
    for (let last = -1; last !== written || written === 0; ) {
      last = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(written < size / 2, `${written} bytes`);
    client.destroy();
  });

  it("ends a body that stands still", async () => {
    const stalled = { policy: POLICY, serve: echoServer([]), timeouts: { stall: 30 } };
    await using proxy = await startLoopback(stalled);
    const client = await proxy.open();
    const answer = collect(client);
    client.write("POST /public HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhe");
    assert.match(await answer.ended, /^HTTP\/1\.1 408 /);
  });
});
