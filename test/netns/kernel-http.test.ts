import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer, request as httpRequest, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import fc from "fast-check";
import { decide } from "#proxy/policy/decide.ts";
import { peerRules } from "#proxy/policy/peer-rules.ts";
import { echoServer } from "#proxy/testing/echo-server.ts";
import { policyOf, startLoopback } from "#proxy/testing/loopback.ts";
import { RequestStreamReader } from "#proxy/testing/request-stream.ts";
import { listener } from "#sys/socket.ts";
import { KernelHttp } from "./kernel-http.ts";
import { get, OPEN, ORDINARY, post, RULES, UNUSUAL } from "./kernel-http-cases.ts";
import { dial, RealNode, type RealPod } from "./nodes.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const [CLIENT, SERVER] = [10001, 10002];

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
    const port = http.expect(socket.localPort ?? 0);
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
  /** What the server receives of the same by way of the proxy. */
  const proxied = async (bytes: Buffer): Promise<Buffer> => {
    const parts: string[] = [];
    await using proxy = await startLoopback({ policy: policyOf(RULES), serve: echoServer(parts) });
    const socket = await proxy.open();
    const closed = once(socket, "close");
    socket.resume().end(bytes);
    await closed;
    return Buffer.from(parts.join(""), "latin1");
  };
  const requestsIn = (bytes: Buffer): readonly string[] => {
    const found: string[] = [];
    new RequestStreamReader(({ method, path }, bodyBytes) => found.push(`${method} ${path} ${bodyBytes}`)).push(bytes);
    return found;
  };
  /** Whatever the server reads is an allowed request, or the beginning of one. */
  const assertAllowed = (bytes: Buffer) => {
    const policy = peerRules(RULES, [CLIENT]).http;
    const isAllowed = (method: string, path: string) =>
      decide(policy, { method, path, host: "", header: () => undefined, hasLookalike: () => false }).allowed;
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
        const got = await received(cuts.slice(1).map((to, i) => bytes.subarray(cuts[i], to)));
        assertAllowed(got);
        // Where the kernel hands over, the proxy goes on; until then both have let the same through.
        const [ours, proxys] = [requestsIn(got), requestsIn(await proxied(bytes))];
        assert.deepEqual(ours, proxys.slice(0, ours.length));
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
    const port = http.expect(socket.localPort ?? 0);
    socket.write(get("/public"));
    assert.deepEqual(await http.settled(port, 1), ["passed"]);
    await new Promise((resolve) => socket.once("data", resolve));
    http.forget();
    socket.write(get("/public"));
    assert.deepEqual(await http.settled(port, 1), ["421"]);
    socket.destroy();
  });

  it("tells of a request with its host, of the server's answer, and counts both", async () => {
    answer = (_, response) => void response.writeHead(404).end("nothing");
    http.allow(server, CLIENT, RULES);
    const before = http.counts;
    const socket = await dial(client.netns, server.ipv4, 80, 5000);
    socket.resume();
    const port = http.expect(socket.localPort ?? 0);
    const text = (bytes: Uint8Array, length: number) => Buffer.from(bytes).toString("latin1", 0, length);
    for (const path of ["/public/1", "/public/2"]) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n`);
      const told = await http.answered(port);
      assert.equal(told.status, 404);
      assert.equal(text(told.path, told.pathLength), `${path} `);
      assert.equal(text(told.host, told.hostLength), "shop.example:8080");
      assert.ok(told.latency > 0n);
    }
    socket.write(get("/secret"));
    assert.deepEqual(await http.settled(port, 3), ["passed", "passed", "403"]);
    const { taken, forwarded, denied } = http.counts;
    assert.deepEqual([taken - before.taken, forwarded - before.forwarded, denied - before.denied], [1, 2, 1]);
    socket.destroy();
  });

  it("never lets an answer overtake a denial", async () => {
    answer = remember;
    for (let i = 0; i < 50; i++) {
      // Again, since it may have been handed over.
      http.allow(server, CLIENT, RULES);
      const socket = await dial(client.netns, server.ipv4, 80, 5000);
      socket.setNoDelay(true);
      let got = "";
      const both = new Promise<void>((resolve) => {
        socket.on("data", (chunk: Buffer) => {
          got += chunk.toString("latin1");
          if (got.split("HTTP/1.1 ").length > 2) resolve();
        });
        socket.on("close", () => resolve());
      });
      const port = http.expect(socket.localPort ?? 0);
      socket.write(get("/secret"));
      socket.write(get("/public"));
      const outcomes = await http.settled(port, 1);
      if (outcomes[0] !== "cut") await both;
      const statuses = [...got.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
      if (statuses.length > 0) assert.match(statuses.join(" "), /^403( 200| 421)?$|^421$/);
      socket.destroy();
    }
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
