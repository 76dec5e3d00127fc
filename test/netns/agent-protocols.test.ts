import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createServer as createHttp2Server } from "node:http2";
import { createServer, Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { promisify } from "node:util";
import { Kafka, logLevel } from "kafkajs";
import { issueCertificate } from "#pki/certificate.ts";
import { createKafkaBroker } from "#proxy/testing/kafka-broker.ts";
import type { Netns } from "#sys/netns.ts";
import { listener, stream } from "#sys/socket.ts";
import { ROOT, startNode, type TestNode, type TestPod, until } from "./node.ts";

const CNP = "ciliumnetworkpolicies.cilium.io";
const [HTTP2, UPGRADES, KAFKA, TLS] = [8080, 8081, 9092, 8443];

const toPorts = (port: number, rules: Record<string, unknown>) => ({ ports: [{ port: String(port), protocol: "TCP" }], rules });
const policy = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "protocols", namespace: "default" },
  spec: {
    endpointSelector: { matchLabels: { app: "server" } },
    ingress: [
      {
        fromEndpoints: [{ matchLabels: { app: "client" } }],
        toPorts: [
          toPorts(HTTP2, { http: [{ method: "GET", path: "/public" }] }),
          toPorts(UPGRADES, {
            http: [
              { method: "GET", path: "/chat" },
              { method: "CONNECT", host: "allowed:443" },
            ],
          }),
          toPorts(KAFKA, { kafka: [{ role: "produce", topic: "orders" }] }),
          { ports: [{ port: String(TLS), protocol: "TCP" }], serverNames: ["open.test"] },
        ],
      },
      { fromCIDR: ["172.31.9.1/32"], toPorts: [toPorts(HTTP2, { http: [{ path: "/outside" }] })] },
    ],
  },
};

/** The L7 proxy as a process in the node's namespace. */
function startProxy(node: TestNode): ChildProcess {
  const paths = [`--bpf-root=${join(node.directory, "bpf")}`, `--proxy-socket-path=${join(node.directory, "proxy.sock")}`];
  const state = [`--proxy-state-path=${join(node.directory, "proxy-policy.json")}`, "--enable-ipv6=false", "--proxy-prometheus-port=0"];
  const program = [process.execPath, join(ROOT, "src/cmd/proxy.ts")];
  return spawn("nsenter", [`--net=${node.netns.path}`, ...program, ...paths, ...state], { stdio: "ignore" });
}

/** Answers `GET /chat` with 101 and CONNECT with 200, then gives back what it gets. */
function serveUpgrades(socket: Socket): void {
  socket.on("error", () => undefined);
  socket.once("data", (head: Buffer) => {
    const connect = head.toString().startsWith("CONNECT");
    socket.write(
      connect ? "HTTP/1.1 200 OK\r\n\r\n" : "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    socket.pipe(socket);
  });
}

/** Sends a head from a pod; gives the status and what came back of `more`. */
async function converse(netns: Netns, host: string, head: string, more: string): Promise<string> {
  const socket = new Socket({ fd: stream({ family: 4, netns }) });
  socket.on("error", () => undefined);
  socket.connect(UPGRADES, host);
  let text = "";
  const ended = new Promise((resolve) => socket.on("close", resolve));
  socket.on("data", (chunk: Buffer) => {
    if (text === "") socket.end(more);
    text += chunk.toString();
  });
  socket.write(head);
  await ended;
  return `${text.slice(9, 12)} ${text.split("\r\n\r\n")[1]}`;
}

describe("protocols through agent, kernel and proxy", { skip: process.getuid?.() === 0 ? false : "root is needed" }, () => {
  const scope = new AsyncDisposableStack();
  let node: TestNode;
  let client: TestPod;
  let ip = "";
  let world: Netns;
  const broker = createKafkaBroker();

  before(async () => {
    node = scope.use(await startNode());
    const proxy = startProxy(node);
    scope.defer(() => new Promise<void>((resolve) => proxy.once("exit", () => resolve()) && proxy.kill("SIGKILL")));
    await node.agent.start();
    const add = async (name: string) => {
      const pod = node.createPod(name, { app: name });
      const { output } = await node.cni("ADD", pod);
      return { pod, address: (output as { ips: { address: string }[] }).ips[0]?.address.split("/")[0] ?? "" };
    };
    const server = await add("server");
    client = (await add("client")).pod;
    ip = server.address;
    world = node.world;
    broker.port = KAFKA;
    broker.host = ip;
    const { key, certificate } = issueCertificate({ commonName: "open.test", purpose: "server" });
    const secure = createTlsServer({ key, cert: certificate }, (socket) => {
      socket.on("error", () => undefined);
      socket.end(`served as ${socket.servername}`);
    });
    const http2 = createHttp2Server((request, response) => response.end(`HTTP/${request.httpVersion} ${request.url}`));
    for (const [port, listen] of [
      [HTTP2, http2],
      [UPGRADES, createServer(serveUpgrades)],
      [KAFKA, createServer(broker.serve)],
      [TLS, secure],
    ] as const) {
      await new Promise<void>((resolve) => listen.listen({ fd: listener({ host: "0.0.0.0", port, netns: server.pod.netns }) }, resolve));
      // With the network gone nobody says goodbye any more.
      const open = new Set<Socket>();
      listen.on("connection", (socket: Socket) => void open.add(socket));
      scope.defer(() => {
        listen.close();
        for (const socket of open) socket.destroy();
      });
    }
    node.api.create(CNP, policy);
    await until("the policy is enforced", async () => (await curl("/secret")).startsWith("403"));
  });
  after(() => scope.disposeAsync());

  /** Status, HTTP version and body, by the real curl in the client's pod. */
  async function curl(path: string, netns = client.netns): Promise<string> {
    const words = ["--http2-prior-knowledge", "-s", "-m", "2", "-w", " %{http_code} %{http_version}", `http://${ip}:${HTTP2}${path}`];
    const { stdout } = await promisify(execFile)("nsenter", [`--net=${netns.path}`, "curl", ...words]).catch(
      (failed: { stdout: string }) => failed,
    );
    const [, body = "", code = "", version = ""] = /^([\s\S]*) (\d+) (\S+)$/.exec(stdout) ?? [];
    return `${code} HTTP/${version} ${body.trim()}`;
  }

  it("HTTP/2: curl with prior knowledge", async () => {
    assert.equal(await curl("/public"), "200 HTTP/2 HTTP/2.0 /public");
    assert.equal(await curl("/secret"), "403 HTTP/2 Access denied");
  });

  it("from outside the cluster: an identity beyond 16 bits is judged by its own rules, once", async () => {
    assert.equal(await curl("/outside", world), "200 HTTP/2 HTTP/2.0 /outside");
    assert.equal(await curl("/public", world), "403 HTTP/2 Access denied");
  });

  it("WebSocket and CONNECT: tunnels for what is allowed, 403 for the rest", async () => {
    const chat = (path: string) =>
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n`;
    const connect = (host: string) => `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    assert.equal(await converse(client.netns, ip, chat("/chat"), "\x01frames\x00"), "101 \x01frames\x00");
    assert.match(await converse(client.netns, ip, chat("/admin"), ""), /^403 Access denied/);
    assert.equal(await converse(client.netns, ip, connect("allowed:443"), "\x16\x03"), "200 \x16\x03");
    assert.match(await converse(client.netns, ip, connect("other:443"), ""), /^403 Access denied/);
  });

  const kafka = () => {
    const socketFactory = ({ host, port, onConnect }: { host: string; port: number; onConnect: () => void }) => {
      const socket = new Socket({ fd: stream({ family: 4, netns: client.netns }) });
      return socket.connect(port, host, onConnect);
    };
    const options = { logLevel: logLevel.NOTHING, retry: { retries: 0 } };
    return new Kafka({ brokers: [`${ip}:${KAFKA}`], socketFactory, ...options }).producer();
  };

  it("Kafka: kafkajs produces to the topic of the rule, and to no other", async () => {
    const producer = kafka();
    await producer.connect();
    const [sent] = await producer.send({ topic: "orders", messages: [{ value: "tea" }] });
    assert.equal(sent?.errorCode, 0);
    await assert.rejects(producer.send({ topic: "salaries", messages: [{ value: "all" }] }), /Not authorized to access topics/);
    await producer.disconnect();
  });

  /** What the server behind a name says; empty when the connection ends before. */
  async function hello(servername: string): Promise<string> {
    const socket = new Socket({ fd: stream({ family: 4, netns: client.netns }) });
    socket.connect(TLS, ip);
    const secure = connectTls({ socket, servername, rejectUnauthorized: false });
    secure.on("error", () => undefined);
    let text = "";
    secure.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await new Promise((resolve) => secure.on("close", resolve));
    socket.destroy();
    return text;
  }

  it("TLS: the name of the rule is served, and no other", async () => {
    assert.equal(await hello("open.test"), "served as open.test");
    assert.equal(await hello("closed.test"), "");
  });

  it("audit mode: topics and names that the rules would refuse pass, and are counted for the rule; enforced again they do not", async () => {
    const annotate = (word: string | null) =>
      node.api.patch(
        CNP,
        "protocols",
        "default",
        { metadata: { annotations: { "policy.cilium.io/audit-mode": word } } },
        { type: "merge" },
      );
    const audited = async () => {
      const rows = (await node.agent.get("/v1/policy/usage")) as { section: string; requests: { audited: number } }[];
      return rows.reduce((sum, { requests }) => sum + requests.audited, 0);
    };
    const send = async () => {
      const producer = kafka();
      try {
        await producer.connect();
        await producer.send({ topic: "salaries", messages: [{ value: "all" }] });
        return true;
      } catch {
        return false;
      } finally {
        await producer.disconnect();
      }
    };
    assert.equal(await audited(), 0);
    annotate("enabled");
    await until("the name passes", async () => (await hello("closed.test")) === "served as closed.test");
    await until("the topic passes", send);
    assert.equal(await hello("open.test"), "served as open.test", "what the rules allow passes as ever");
    await until("both are counted", async () => (await audited()) >= 2);
    annotate(null);
    await until("the name is refused", async () => (await hello("closed.test")) === "");
    await until("the topic is refused", async () => !(await send()));
  });
});
