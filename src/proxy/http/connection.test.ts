import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { anyPeer, CLIENT_IDENTITY, collect, exchange, policyOf, SERVER_IDENTITY, startLoopback } from "../testing/loopback.ts";

const GET_ONLY = policyOf([anyPeer({ method: "GET", path: "/public.*" })]);
const EVERYTHING = policyOf([{ identities: null, http: null, origins: [] }]);
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: web\r\n${more}\r\n`;
const post = (path: string, body: string) => `POST ${path} HTTP/1.1\r\nHost: web\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const DENIED = /HTTP\/1\.1 403 Forbidden\r\n(?:.+\r\n)*\r\nAccess denied\r\n/;

describe("connection: requests", () => {
  it("passes allowed bytes on unchanged and answers the denied itself, in order, on one connection", async () => {
    const seen: string[] = [];
    const allowed = `GET /public/a HTTP/1.1\r\nhOsT:  web\r\nX-Odd:\tvalue \r\n\r\n`;
    const text = allowed + post("/public/b", "secret") + get("/private") + get("/public/c");
    const answer = await exchange({ policy: GET_ONLY, serve: echoServer(seen) }, text);
    assert.equal(seen.join(""), allowed + get("/public/c"));
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 403", "HTTP/1.1 403", "HTTP/1.1 200"]);
    assert.match(answer, DENIED);
    assert.ok(answer.endsWith("GET /public/c HTTP/1.1"));
  });

  it("gives the same answers however the client's bytes are cut", async () => {
    const text = get("/public/a") + post("/x", "body") + get("/public/b");
    await using proxy = await startLoopback({ policy: GET_ONLY, serve: echoServer([]) });
    for (let cut = 1; cut < text.length; cut += 7) {
      const client = await proxy.open();
      client.setNoDelay(true);
      const answer = collect(client);
      client.write(text.slice(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      client.end(text.slice(cut));
      assert.deepEqual((await answer.ended).match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 403", "HTTP/1.1 200"]);
    }
  });

  it("streams chunked bodies both ways", async () => {
    const seen: string[] = [];
    const body = "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    const text = `POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
    const reply = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
    const answer = await exchange({ policy: EVERYTHING, serve: echoServer(seen, () => reply) }, text + get("/"));
    assert.equal(seen.join(""), text + get("/"));
    assert.equal(answer, reply + reply);
  });

  it("keeps nothing of large bodies and loses nothing of them", async () => {
    const size = 8 * 1024 * 1024;
    const serve = (socket: Socket) => {
      let got = 0;
      socket.on("data", (chunk: Buffer) => {
        got += chunk.length;
        if (got < size) return;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        socket.write(Buffer.alloc(size, "y"));
      });
    };
    await using proxy = await startLoopback({ policy: EVERYTHING, serve });
    const client = await proxy.open();
    let received = 0;
    client.on("data", (chunk: Buffer) => {
      received += chunk.length;
    });
    client.write(`POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`);
    client.write(Buffer.alloc(size, "x"));
    await once(client, "end");
    assert.ok(received > size && received < size + 100, String(received));
  });

  it("understands answers without bodies", async () => {
    const answers = ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"];
    const serve = echoServer([], (line) => (line.startsWith("HEAD") ? "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" : answers.shift()));
    const text = `HEAD / HTTP/1.1\r\nHost: web\r\n\r\n${get("/")}${get("/")}${get("/last")}`;
    const answer = await exchange({ policy: EVERYTHING, serve }, text);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g)?.slice(0, 4), ["HTTP/1.1 200", "HTTP/1.1 204", "HTTP/1.1 304", "HTTP/1.1 200"]);
    assert.ok(answer.endsWith("GET /last HTTP/1.1"));
  });

  it("answers a denied HEAD without a body", async () => {
    const answer = await exchange({ policy: GET_ONLY, serve: echoServer([]) }, "HEAD / HTTP/1.1\r\nHost: web\r\n\r\n");
    assert.match(answer, /^HTTP\/1\.1 403 (?:.+\r\n)+\r\n$/);
  });

  it("passes on 100 Continue, and then the answer", async () => {
    await using proxy = await startLoopback({
      policy: EVERYTHING,
      serve: (socket) => {
        socket.once("data", () => {
          socket.write("HTTP/1.1 100 Continue\r\n\r\n");
          socket.once("data", (body: Buffer) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
        });
      },
    });
    const client = await proxy.open();
    const answer = collect(client);
    client.write("PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    await answer.until("100 Continue\r\n\r\n");
    client.end("ok");
    assert.ok((await answer.ended).endsWith("\r\n\r\nok"));
  });

  it("closes after denying a request that waits for 100 Continue", async () => {
    const text = "PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    const seen: string[] = [];
    const answer = await exchange({ policy: GET_ONLY, serve: echoServer(seen) }, text + get("/public"));
    assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n(?:.+\r\n)*connection: close\r\n/);
    assert.deepEqual(seen, []);
    assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1);
  });

  it("ignores what follows Connection: close", async () => {
    const seen: string[] = [];
    const first = get("/public/1", "Connection: close\r\n");
    await exchange({ policy: GET_ONLY, serve: echoServer(seen) }, first + get("/public/2"));
    assert.equal(seen.join(""), first);
  });

  it("serves HTTP/1.0 with and without keep-alive", async () => {
    const kept = "GET /public HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const reply = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx";
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: GET_ONLY, serve: echoServer(seen, () => reply) });
    const client = await proxy.open();
    client.end(`${kept}GET /public HTTP/1.0\r\n\r\n${get("/public/never")}`);
    assert.equal(await collect(client).ended, reply + reply);
    assert.equal(seen.join("").includes("never"), false);
    assert.deepEqual(new Set(proxy.records.map(({ http }) => http.protocol)), new Set(["HTTP/1"]));
  });

  it("passes on an answer that ends with the connection", async () => {
    const serve = (socket: Socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\n\r\nall of it"));
    assert.equal(await exchange({ policy: EVERYTHING, serve }, get("/")), "HTTP/1.1 200 OK\r\n\r\nall of it");
  });

  it("answers thousands of pipelined requests in order without keeping their answers", async () => {
    const count = 3000;
    const text = Array.from({ length: count }, (_, i) => get(i % 3 === 0 ? `/private/${i}` : `/public/${i}`)).join("");
    const answer = await exchange({ policy: GET_ONLY, serve: echoServer([]) }, text);
    const codes = answer.match(/HTTP\/1\.1 \d{3} /g) ?? [];
    assert.equal(codes.length, count);
    assert.ok(codes.every((code, i) => code.includes(i % 3 === 0 ? "403" : "200")));
  });
});

describe("connection: hostile clients", () => {
  for (const [name, text] of [
    [
      "conflicting framing",
      "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /private",
    ],
    ["TLS", "\x16\x03\x01\x02\x00"],
    ["a bare LF", "GET /public HTTP/1.1\nHost: a\r\n\r\n"],
  ] as const) {
    it(`answers ${name} with 400 and closes without a byte to the server`, async () => {
      const seen: string[] = [];
      const answer = await exchange({ policy: EVERYTHING, serve: echoServer(seen) }, text);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n(?:.+\r\n)*connection: close\r\n/);
      assert.deepEqual(seen, []);
    });
  }

  it("breaks off a request whose body turns bad", async () => {
    const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const seen: string[] = [];
    const answer = await exchange(
      { policy: EVERYTHING, serve: echoServer(seen) },
      `${head}5\r\nhello\r\nzz\r\n\r\nGET /private HTTP/1.1\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.equal(seen.join("").includes("private"), false);
  });

  it("refuses paths that some servers read as others", async () => {
    const paths = ["/public/../admin", "/public/..%2fadmin", "/public/%2e%2e/admin", "/public/%252e%252e/admin", "/public/..;x=1/admin"];
    for (const path of [...paths, "/public/..\\admin", "/public/..%5cadmin", "/public/.;/../../admin", "/public//../../admin"]) {
      const seen: string[] = [];
      const answer = await exchange({ policy: GET_ONLY, serve: echoServer(seen) }, get(path));
      assert.match(answer, DENIED, path);
      assert.deepEqual(seen, []);
    }
  });

  it("takes offers out that both sides could not follow alike, and lets the request through", async () => {
    const seen: string[] = [];
    const text = get("/public", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, TLS/1.0\r\nHTTP2-Settings: AAMA\r\nX-A: b\r\n");
    await exchange({ policy: GET_ONLY, serve: echoServer(seen) }, text);
    assert.equal(seen.join(""), get("/public", "Connection: Upgrade, HTTP2-Settings\r\nX-A: b\r\n"));
  });

  it("times out a slow head with 408", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), timeouts: { head: 30 } });
    const client = await proxy.open();
    const answer = collect(client);
    client.write("GET / HTTP/1.1\r\nHost: ");
    assert.match(await answer.ended, /^HTTP\/1\.1 408 /);
  });

  it("closes a connection that stays silent", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), timeouts: { idle: 30 } });
    assert.equal(await collect(await proxy.open()).ended, "");
  });

  it("throws away a denied body up to a bound, then closes", async () => {
    const options = { policy: GET_ONLY, serve: echoServer([]), limits: { drainBytes: 1000 } };
    const within = await exchange(options, post("/x", "y".repeat(900)) + get("/public"));
    assert.deepEqual(within.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 403", "HTTP/1.1 200"]);
    const beyond = await exchange(options, post("/x", "y".repeat(1100)) + get("/public"));
    assert.deepEqual(beyond.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 403"]);
    assert.match(beyond, /connection: close/);
  });

  it("refuses more connections than it is allowed to have, and counts them", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), maxConnections: 1 });
    const first = await proxy.open();
    const second = await proxy.open();
    await collect(second).ended;
    assert.equal(proxy.counters.refused.limit, 1);
    first.destroy();
  });

  it("refuses a client that has too many connections, until it closes some", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), maxConnectionsPerClient: 1 });
    const first = await proxy.open();
    await collect(await proxy.open()).ended;
    assert.equal(proxy.counters.refused["client-limit"], 1);
    first.destroy();
    while (proxy.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    const third = await proxy.open();
    const answer = collect(third);
    third.end(get("/"));
    assert.match(await answer.ended, /200 OK/);
  });
});

describe("connection: policy", () => {
  it("judges the next request of a connection by the new policy", async () => {
    await using proxy = await startLoopback({ policy: GET_ONLY, serve: echoServer([]) });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(get("/public"));
    await answer.until("GET /public");
    proxy.setPolicy(policyOf([anyPeer({ path: "/other" })], 2));
    client.write(get("/public"));
    await answer.until(DENIED);
    assert.deepEqual(
      proxy.records.map(({ policyRevision }) => policyRevision),
      [1, 1, 2],
    );
    client.destroy();
  });

  it("cuts connections that are not redirected any more", async () => {
    await using proxy = await startLoopback({ policy: GET_ONLY, serve: echoServer([]) });
    const client = await proxy.open();
    const answer = collect(client);
    client.write(get("/public"));
    await answer.until("GET /public");
    proxy.setPolicy({ type: "policy", revision: 2, endpoints: [] });
    await collect(client).ended;
    assert.equal(proxy.connections, 0);
  });

  it("refuses everything without a policy", async () => {
    await using proxy = await startLoopback({ serve: echoServer([]) });
    const client = await proxy.open();
    await collect(client).ended;
    assert.equal(proxy.counters.refused["no-policy"], 1);
  });

  it("never serves a denied path, while policies change under thousands of requests (CVE-2024-28248)", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: policyOf([anyPeer({ path: "/even.*" })], 0), serve: echoServer(seen) });
    let sent = 0;
    const talk = async () => {
      const client = await proxy.open();
      const answer = collect(client);
      const requests = Array.from({ length: 100 }, (_, i) => get(i % 2 === 0 ? `/even/${i}` : `/odd/${i}`));
      for (let i = 0; i < requests.length; i += 10) {
        client.write(requests.slice(i, i + 10).join(""));
        proxy.setPolicy(policyOf([anyPeer({ path: sent % 2 === 0 ? "/even.*" : "/odd.*" })], sent));
        sent++;
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.end();
      assert.equal((await answer.ended).match(/HTTP\/1\.1 [24]0[03] /g)?.length, requests.length);
    };
    await Promise.all(Array.from({ length: 20 }, talk));
    const forwarded = proxy.records.filter(({ kind, verdict }) => kind === "request" && verdict === "FORWARDED");
    assert.ok(forwarded.length > 100 && forwarded.length < 1900, String(forwarded.length));
    assert.ok(
      forwarded.every(({ http, policyRevision }) => http.url.startsWith(policyRevision % 2 === 0 ? "http://web/even" : "http://web/odd")),
    );
    assert.equal(seen.join("").match(/GET \//g)?.length, forwarded.length);
  });
});

describe("connection: records", () => {
  it("says who asked whom for what, what came of it and why", async () => {
    await using proxy = await startLoopback({ policy: GET_ONLY, serve: echoServer([]) });
    const client = await proxy.open();
    const answer = collect(client);
    client.end(get("/public?token=abc", "User-Agent: curl\r\nAuthorization: Bearer x\r\nCookie: s=1\r\n") + post("/public", "x"));
    await answer.ended;
    const [request, response, denial] = proxy.records;
    assert.equal(request?.verdict, "FORWARDED");
    assert.equal(request?.http.url, "http://web/public?token=***");
    assert.deepEqual(request?.http.headers, [{ key: "user-agent", value: "curl" }]);
    assert.equal(request?.source.identity, CLIENT_IDENTITY);
    assert.equal(request?.destination.identity, SERVER_IDENTITY);
    assert.equal(request?.origins?.[0]?.name, "web");
    assert.equal(response?.kind, "response");
    assert.equal(response?.http.code, 200);
    assert.ok((response?.latencyNs ?? 0) > 0);
    assert.equal(denial?.verdict, "DROPPED");
    assert.equal(denial?.http.code, 403);
    assert.deepEqual(denial?.denied?.nearest[0]?.mismatches, [{ field: "method", wanted: "GET", found: "POST" }]);
    assert.equal(JSON.stringify(proxy.records).includes("Bearer"), false);
  });

  it("reports input that is no HTTP and servers that cannot be reached as errors", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), serverPort: 1 });
    for (const text of ["\x16\x03", get("/")]) {
      const client = await proxy.open();
      const answer = collect(client);
      client.end(text, "latin1");
      await answer.ended;
    }
    assert.deepEqual(
      proxy.records.filter(({ verdict }) => verdict === "ERROR").map(({ http, error }) => [http.code, error?.slice(0, 16)]),
      [
        [400, "not HTTP"],
        [503, "upstream connect"],
      ],
    );
  });
});
