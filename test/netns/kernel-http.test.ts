import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Agent, createServer, request as httpRequest, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import fc from "fast-check";
import { decide } from "#proxy/policy/decide.ts";
import { peerRules } from "#proxy/policy/peer-rules.ts";
import type { PeerRule } from "#proxy/protocol.ts";
import { echoServer } from "#proxy/testing/echo-server.ts";
import { HOSTILE } from "#proxy/testing/hostile.ts";
import { policyOf, startLoopback } from "#proxy/testing/loopback.ts";
import { RequestStreamReader } from "#proxy/testing/request-stream.ts";
import { listener } from "#sys/socket.ts";
import { KernelHttp } from "./kernel-http.ts";
import { dial, RealNode, type RealPod } from "./nodes.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const [CLIENT, SERVER] = [10001, 10002];
const RULES: readonly PeerRule[] = [
  {
    identities: null,
    http: [
      { method: "GET|HEAD", path: "/public.*" },
      { method: "POST|PUT", path: "/in" },
    ],
    origins: [],
  },
];
/** Whatever is proper HTTP. */
const OPEN: readonly PeerRule[] = [{ identities: null, http: [{ path: "/.*" }], origins: [] }];
/** Long enough for an answer in its place. */
const HOST = "Host: a\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\nAccept: */*\r\n";
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\n${HOST}${more}\r\n`;
const post = (path: string, more: string, body: string) => `POST ${path} HTTP/1.1\r\n${HOST}${more}\r\n${body}`;

/** Requests that the kernel must decide, and as the proxy does. */
const ORDINARY: readonly (readonly [string, string])[] = [
  ["an allowed path", get("/public")],
  ["a path that begins as allowed", get("/public/x/y.html?q=a%2Fb//c")],
  ["a denied path", get("/secret")],
  ["a denied path that an allowed one begins with", get("/publi")],
  ["a path with a query where none is allowed", post("/in?x", "Content-Length: 0\r\n", "")],
  ["a denied method", `DELETE /public HTTP/1.1\r\n${HOST}\r\n`],
  ["an unknown method", `FROB /public HTTP/1.1\r\n${HOST}\r\n`],
  ["a longer method", `GETX /public HTTP/1.1\r\n${HOST}\r\n`],
  ["HEAD, denied", `HEAD /secret HTTP/1.1\r\n${HOST}\r\n`],
  ["a denied path that servers read differently", get("/secret/../public")],
  ["a body of a known length", post("/in", "Content-Length: 5\r\n", "hello")],
  ["a body in chunks", post("/in", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n")],
  ["a denied body", post("/out", "Content-Length: 5\r\n", "hello")],
  ["denied chunks", post("/out", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")],
  ["a client that waits for leave to send a body", post("/in", "Content-Length: 5\r\nExpect: 100-continue\r\n", "hello")],
  ["the same, denied", post("/out", "Content-Length: 5\r\nExpect: 100-continue\r\n", "")],
  ["HTTP/1.0", `GET /public HTTP/1.0\r\n${HOST}\r\n`],
  ["HTTP/1.0, denied", `GET /secret HTTP/1.0\r\n${HOST}\r\n`],
  ["a last request", get("/public", "Connection: close\r\n")],
  ["a last request, denied", get("/secret", "Connection: close\r\n")],
  ["an IPv6 host", `GET /public HTTP/1.1\r\nHost: [fd00::1]:8080\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`],
  ["a bad host", `GET /public HTTP/1.1\r\nHost: [fd00::1\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`],
  ["a bad port", `GET /public HTTP/1.1\r\nHost: a:123456\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`],
];
/** Requests that the kernel may leave to the proxy. */
const UNUSUAL: readonly (readonly [string, string])[] = [
  ["an allowed path that servers read differently", get("/public/../secret")],
  ["an escaped slash", get("/public%2Fx")],
  ["WebSocket", get("/public", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n")],
  ["h2c", get("/public", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")],
  ["an absolute target", `GET http://a/public HTTP/1.1\r\n${HOST}\r\n`],
  ["CONNECT", `CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n`],
  ["the asterisk", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`],
  ["an empty line before", `\r\n${get("/public")}`],
  ["trailers", post("/in", "Transfer-Encoding: chunked\r\n", "0\r\nX-A: b\r\n\r\n")],
  ...HOSTILE.map(([name, text]) => [name, text] as const).filter(([name]) => name !== "HTTP/2 with prior knowledge"),
];

describe("HTTP decided at sockets", { skip: missing }, () => {
  let nodes: [RealNode, RealNode];
  let client: RealPod;
  let far: RealPod;
  let server: RealPod;
  let http: KernelHttp;
  const servers: Server[] = [];
  const open = new Set<Socket>();
  let answer: RequestListener | undefined;
  let onBytes: ((socket: Socket) => void) | undefined;

  before(async () => {
    const prefix = `chttp${process.pid}`;
    nodes = [new RealNode(prefix, 1), new RealNode(prefix, 2)];
    RealNode.connect(...nodes);
    for (const node of nodes) node.start({ enableHttp: 1 });
    client = nodes[0].addPod("a", CLIENT);
    server = nodes[0].addPod("b", SERVER);
    far = nodes[1].addPod("c", CLIENT);
    for (const node of nodes) node.learn(nodes);
    http = new KernelHttp(nodes[0].object);
    for (const host of ["0.0.0.0", "::"]) {
      const web = createServer((request, response) => answer?.(request, response));
      // What is no request to us is for the test to see.
      const raw = createTcpServer({ allowHalfOpen: true }, (socket) => {
        open.add(socket.on("close", () => open.delete(socket)));
        if (onBytes) onBytes(socket);
        else web.emit("connection", socket);
      });
      servers.push(raw);
      await new Promise<void>((resolve) => raw.listen({ fd: listener({ host, port: 80, netns: server.netns }) }, resolve));
    }
    nodes[0].maps.setPolicy(server, { ingress: [{ peer: CLIENT, protocol: 6, port: 80, proxyPort: 10001 }] });
  });

  after(async () => {
    for (const one of servers) one.close();
    for (const socket of open) socket.destroy();
    http[Symbol.dispose]();
    for (const node of nodes) node[Symbol.dispose]();
  });

  /** The status that the client gets, or "cut". */
  const statusOf = async (pod: RealPod, text: string, family: "ipv4" | "ipv6" = "ipv4", rules = RULES): Promise<string> => {
    http.allow(server, CLIENT, rules);
    const socket = await dial(pod.netns, server[family], 80, 5000);
    const port = socket.localPort ?? 0;
    const answered = new Promise<string>((resolve) => {
      let got = "";
      socket.on("data", (chunk: Buffer) => {
        got += chunk.toString("latin1");
        const [, status] = /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 (\d+) /.exec(got) ?? [];
        if (status !== undefined && status !== "100") resolve(status);
      });
    });
    socket.write(text, "latin1");
    const [outcome] = await http.settled(port, 1);
    const status = outcome === "cut" ? "cut" : await answered;
    socket.destroy();
    return status;
  };
  const proxyStatusOf = async (text: string, rules = RULES): Promise<string> => {
    await using proxy = await startLoopback({ policy: policyOf(rules), serve: echoServer([]) });
    const socket = await proxy.open();
    const status = new Promise<string>((resolve) => {
      let got = "";
      socket.on("data", (chunk: Buffer) => {
        got += chunk.toString("latin1");
        const [, found] = /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 (\d+) /.exec(got) ?? [];
        if (found !== undefined && found !== "100") resolve(found);
      });
    });
    socket.write(text, "latin1");
    const found = await status;
    socket.destroy();
    return found;
  };
  const seen: string[] = [];
  const remember: RequestListener = (request, response) => {
    request.resume().on("end", () => {
      seen.push(`${request.method} ${request.url}`);
      response.end("ok");
    });
  };

  it("gives clients of this node and of others, of both families, their answers", async () => {
    answer = remember;
    for (const family of ["ipv4", "ipv6"] as const) {
      for (const pod of [client, far]) {
        assert.equal(await statusOf(pod, get("/public"), family), "200");
        assert.equal(await statusOf(pod, get("/secret"), family), "403");
      }
    }
  });

  for (const [name, text] of ORDINARY) {
    it(`decides as the proxy: ${name}`, async () => {
      answer = remember;
      seen.length = 0;
      const status = await statusOf(client, text);
      assert.equal(status, await proxyStatusOf(text));
      assert.equal(seen.length, status === "200" ? 1 : 0);
      assert.ok(!http.isHandedOver(server, "ipv4", CLIENT));
    });
  }

  for (const [name, text] of UNUSUAL) {
    it(`decides as the proxy, or leaves it to it: ${name}`, async () => {
      answer = remember;
      seen.length = 0;
      const status = await statusOf(client, text, "ipv4", OPEN);
      if (status === "421" || status === "cut") assert.deepEqual(seen, []);
      else assert.equal(status, await proxyStatusOf(text, OPEN));
    });
  }

  it("answers one request after the other on a connection", async () => {
    answer = remember;
    http.allow(server, CLIENT, RULES);
    const socket = await dial(client.netns, server.ipv4, 80, 5000);
    let got = "";
    let wake = () => {};
    socket.on("data", (chunk: Buffer) => {
      got += chunk.toString("latin1");
      wake();
    });
    const statuses: string[] = [];
    for (const path of ["/public", "/secret", "/secret", "/public/2", "/secret", "/public/3"]) {
      got = "";
      socket.write(get(path));
      while (!/(?:ok|0\r\n\r\n|denied\r\n)$/.test(got)) await new Promise<void>((resolve) => (wake = resolve));
      statuses.push(got.slice(9, 12));
    }
    assert.deepEqual(statuses, ["200", "403", "403", "200", "403", "200"]);
    socket.destroy();
  });

  /** Sends the pieces and gives back what the server has received when the client has ended. */
  const received = async (pieces: readonly Buffer[]): Promise<Buffer> => {
    http.allow(server, CLIENT, RULES);
    const parts: Buffer[] = [];
    const ended = new Promise<void>((resolve) => {
      onBytes = (socket) => {
        socket.on("data", (part: Buffer) => parts.push(part));
        socket.on("end", () => {
          socket.destroy();
          resolve();
        });
        socket.on("error", () => resolve());
      };
    });
    const socket = await dial(client.netns, server.ipv4, 80, 5000);
    socket.setNoDelay(true);
    socket.resume();
    for (const piece of pieces) {
      socket.write(piece);
      await wait(1);
    }
    socket.end();
    await ended;
    onBytes = undefined;
    socket.destroy();
    return Buffer.concat(parts);
  };
  /** Whatever the server reads is an allowed request, or the beginning of one. */
  const assertAllowed = (bytes: Buffer) => {
    const policy = peerRules(RULES, [CLIENT]).http;
    const isAllowed = (method: string, path: string) => decide(policy, { method, path, host: "", header: () => undefined }).allowed;
    let whole = 0;
    const reader = new RequestStreamReader(({ method, path }) => {
      assert.ok(isAllowed(method, path), `${method} ${path}`);
      whole += 1;
    });
    let begun = 0;
    for (const [at] of bytes.entries()) {
      const before = whole;
      reader.push(bytes.subarray(at, at + 1));
      if (whole > before) begun = at + 1;
    }
    const [, method = "", path = ""] = /^(\S+) (\S+) HTTP\/1\.[01]\r\n/.exec(bytes.toString("latin1", begun)) ?? [];
    if (begun < bytes.length) assert.ok(isAllowed(method, path), JSON.stringify(bytes.toString("latin1", begun)));
  };

  it("never lets a byte of a denied request through, wherever a stream is cut", { timeout: 300_000 }, async () => {
    const stream = Buffer.from(get("/public/1") + post("/in", "Content-Length: 30\r\n", get("/secret").slice(0, 30)) + get("/secret"));
    for (let at = 1; at < stream.length; at += 1) assertAllowed(await received([stream.subarray(0, at), stream.subarray(at)]));
  });

  it("never lets anything else through that is made of requests, whole or damaged, cut anywhere", { timeout: 300_000 }, async () => {
    const one = fc.constantFrom(
      ...[...ORDINARY, ...UNUSUAL].map(([, text]) => text).filter((text) => text.length < 2000),
      post("/in", "Transfer-Encoding: chunked\r\n", `1f\r\n${get("/secret").slice(0, 31)}\r\n0\r\n\r\n`),
    );
    const stream = fc.array(one, { minLength: 1, maxLength: 4 });
    const changes = fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(stream, changes, fc.array(fc.nat(600), { maxLength: 3 }), async (texts, damage, places) => {
        const bytes = Buffer.from(texts.join(""), "latin1");
        for (const [at, value] of damage) if (at < bytes.length) bytes[at] = value;
        const cuts = [0, ...places.filter((place) => place < bytes.length).sort((a, b) => a - b), bytes.length];
        assertAllowed(await received(cuts.slice(1).map((to, i) => bytes.subarray(cuts[i], to))));
      }),
      { numRuns: 400 },
    );
  });

  it("carries bodies of megabytes both ways unchanged, on connections that stay and on such that end", { timeout: 300_000 }, async () => {
    http.allow(server, CLIENT, RULES);
    const blob = randomBytes(20 << 20);
    const digest = (bytes: Buffer) => createHash("sha1").update(bytes).digest("hex");
    answer = (request, response) => {
      if (request.method === "GET") {
        response.end(blob.subarray(0, Number(request.url?.split("=")[1])));
        return;
      }
      const hash = createHash("sha1");
      request.on("data", (part: Buffer) => hash.update(part)).on("end", () => response.end(hash.digest("hex")));
    };
    const exchange = async (agent: Agent, upload: "length" | "chunks" | undefined, size = 1 << 20): Promise<void> => {
      const body = blob.subarray(0, size);
      const headers = { host: "a", ...(upload === "length" ? { "content-length": size } : {}) };
      const place = upload ? { method: "POST", path: "/in" } : { path: `/public?size=${size}` };
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const made = httpRequest({ ...place, headers, agent }, resolve);
        made.on("error", reject).end(upload ? body : undefined);
      });
      const parts: Buffer[] = [];
      for await (const part of response) parts.push(part as Buffer);
      const got = Buffer.concat(parts);
      assert.equal(upload ? got.toString() : digest(got), digest(body));
    };
    /** All requests of such an agent go over one connection; without `keepAlive` it says that its request is the last. */
    const agentFrom = async (pod: RealPod, keepAlive: boolean): Promise<Agent> => {
      const socket = await dial(pod.netns, server.ipv4, 80, 5000);
      const agent = new Agent({ keepAlive, maxSockets: 1 });
      agent.createConnection = () => socket;
      return agent;
    };
    for (const pod of [client, far]) {
      const agent = await agentFrom(pod, true);
      for (let i = 0; i < 20; i++) await exchange(agent, i % 2 === 0 ? undefined : "length");
      await exchange(agent, "chunks", blob.length);
      await exchange(agent, undefined, blob.length);
      agent.destroy();
    }
    for (let i = 0; i < 60; i++) {
      const agent = await agentFrom(i % 2 === 0 ? client : far, false);
      await exchange(agent, ([undefined, "length", "chunks"] as const)[i % 3]);
      agent.destroy();
    }
  });

  it("ends a connection at its next request when its rules are gone", async () => {
    answer = remember;
    http.allow(server, CLIENT, RULES);
    const socket = await dial(client.netns, server.ipv4, 80, 5000);
    const port = socket.localPort ?? 0;
    socket.write(get("/public"));
    assert.deepEqual(await http.settled(port, 1), ["passed"]);
    await new Promise((resolve) => socket.once("data", resolve));
    http.forget();
    socket.write(get("/public"));
    assert.deepEqual(await http.settled(port, 1), ["421"]);
    socket.destroy();
  });

  it("keeps every byte from a server whose socket was not taken", async () => {
    http.allow(server, CLIENT, RULES);
    http.stopAccepting();
    let bytes = 0;
    onBytes = (socket) => socket.on("data", (part: Buffer) => (bytes += part.length)).on("error", () => {});
    const before = nodes[0].counted(178, 1);
    const socket = await dial(client.netns, server.ipv4, 80, 5000);
    socket.write(get("/public"));
    while (nodes[0].counted(178, 1) + nodes[0].counted(178, 2) === before) await wait(5);
    assert.equal(bytes, 0);
    socket.destroy();
  });
});
