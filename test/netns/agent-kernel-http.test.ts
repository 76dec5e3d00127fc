import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createServer } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import type { AgentStatusShape } from "#cmd/cilium/shapes.ts";
import { maps } from "#datapath/gen/maps.ts";
import { openBpf } from "#ebpf/kernel.ts";
import type { Netns } from "#sys/netns.ts";
import { listener, stream } from "#sys/socket.ts";
import { ROOT, startNode, type TestNode, type TestPod, until } from "./node.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const DENIED_TEXT = "--http-403-msg=kept out";
const CNP = "ciliumnetworkpolicies.cilium.io";

const policyFor = (path: string) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "web", namespace: "default" },
  spec: {
    endpointSelector: { matchLabels: { app: "web" } },
    ingress: [
      {
        fromEndpoints: [{ matchLabels: { app: "client" } }],
        toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }], rules: { http: [{ method: "GET", path }] } }],
      },
    ],
  },
});

function startProxy(node: TestNode): ChildProcess {
  const args = [
    `--net=${node.netns.path}`,
    process.execPath,
    join(ROOT, "src/cmd/proxy.ts"),
    `--bpf-root=${join(node.directory, "bpf")}`,
    `--proxy-socket-path=${join(node.directory, "proxy.sock")}`,
    `--proxy-state-path=${join(node.directory, "proxy-policy.json")}`,
    "--enable-ipv6=false",
    "--proxy-prometheus-port=0",
    DENIED_TEXT,
  ];
  return spawn("nsenter", args, { stdio: "ignore" });
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

async function addPod(node: TestNode, name: string): Promise<{ pod: TestPod; ip: string }> {
  const pod = node.createPod(name, { app: name });
  const { code, output } = await node.cni("ADD", pod);
  assert.equal(code, 0, JSON.stringify(output));
  return { pod, ip: (output as { ips: { address: string }[] }).ips[0]?.address.split("/")[0] ?? "" };
}

async function serve(netns: Netns): Promise<AsyncDisposable> {
  // Connections stay, however slow the rest of the test is.
  const server = createServer({ keepAliveTimeout: 0 }, (_, response) => response.end("hello"));
  await new Promise<void>((resolve) => server.listen({ fd: listener({ host: "0.0.0.0", port: 8080, netns }) }, resolve));
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A connection that stays: the status of each request on it, "closed" when it ends. */
class Client {
  readonly #socket: Socket;
  #text = "";
  #closed = false;
  #wake = () => {};

  constructor(netns: Netns, host: string) {
    this.#socket = new Socket({ fd: stream({ family: 4, netns }) });
    this.#socket.on("data", (chunk) => {
      this.#text += chunk.toString("latin1");
      this.#wake();
    });
    this.#socket.on("error", () => this.#socket.destroy());
    this.#socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
    this.#socket.connect(8080, host);
  }

  async ask(path: string, more = ""): Promise<string> {
    this.#text = "";
    this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: web\r\nUser-Agent: test\r\n${more}\r\n`);
    // A short answer of the kernel's has no body.
    const whole = /content-length: 0 *\r\n[\s\S]*\r\n\r\n|\r\n\r\n./;
    while (!this.#closed && !whole.test(this.#text)) await new Promise<void>((resolve) => (this.#wake = resolve));
    return /^HTTP\/1\.1 (\d+)/.exec(this.#text)?.[1] ?? "closed";
  }

  /** The last answer. */
  get text(): string {
    return this.#text;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

interface HttpFlow {
  readonly verdict: string;
  readonly l7: { readonly type: string; readonly http: { readonly code?: number; readonly url: string } };
}

async function httpFlows(node: TestNode): Promise<readonly HttpFlow[]> {
  const args = [join(ROOT, "src/cmd/hubble.ts"), "observe", "--all", "--protocol", "http", "-o", "json"];
  const { stdout } = await promisify(execFile)(process.execPath, [...args, "--server", `unix://${join(node.directory, "hubble.sock")}`]);
  return stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => (JSON.parse(line) as { readonly flow: HttpFlow }).flow);
}

/** What the agent's status says of HTTP in the kernel. */
async function counted(node: TestNode): Promise<Required<Pick<NonNullable<AgentStatusShape["kernel-http"]>, "connections" | "requests">>> {
  const { "kernel-http": { connections, requests } = {} } = (await node.agent.get("/v1/healthz")) as AgentStatusShape;
  assert.ok(connections && requests);
  return { connections, requests };
}

describe("agent and kernel", { skip: missing }, () => {
  it("decide HTTP without the proxy for clients that it has seen, follow policy, and leave the rest to it", {
    timeout: 240_000,
  }, async () => {
    await using node = await startNode({ flags: ["--enable-kernel-http", DENIED_TEXT] });
    let proxy = startProxy(node);
    await using scope = new AsyncDisposableStack();
    scope.defer(() => kill(proxy));
    await node.agent.start();
    const [web, client] = [await addPod(node, "web"), await addPod(node, "client")];
    scope.use(await serve(web.pod.netns));
    const pins = join(node.directory, "bpf", "tc", "globals");
    const guarded = () => {
      using state = openBpf().openMap(maps.ciliumHttpState, join(pins, "cilium_http_state"));
      return [...state.keys()].length;
    };
    const connect = () => new Client(client.pod.netns, web.ip);
    const ask = async (path: string) => {
      using one = connect();
      return await one.ask(path);
    };

    node.api.create(CNP, policyFor("/public.*"));
    await until("the secret is denied", async () => (await ask("/secret")) === "403");
    await until("the kernel has the client's connections", async () => {
      using one = connect();
      return (await one.ask("/public")) === "200" && guarded() > 0;
    });

    using one = connect();
    assert.deepEqual([await one.ask("/public"), await one.ask("/secret")], ["200", "403"]);
    assert.match(one.text, /\r\n\r\nkept out\r\n$/);
    assert.equal(await one.ask("/public/x"), "200");
    // The next request on a live connection is under the policy of now.
    node.api.apply(CNP, policyFor("/other"), { fieldManager: "test", force: true });
    await until("the public is denied", async () => (await one.ask("/public")) === "403");
    assert.equal(await one.ask("/other"), "200");
    await until("flows tell of requests and answers", async () => {
      const flows = await httpFlows(node);
      const has = (type: string, verdict: string, code: number, url: string) =>
        flows.some(
          ({ l7, ...flow }) => l7.type === type && flow.verdict === verdict && (l7.http.code ?? 0) === code && l7.http.url === url,
        );
      return (
        has("REQUEST", "FORWARDED", 0, "http://web/public") &&
        has("RESPONSE", "FORWARDED", 200, "http://web/public") &&
        has("REQUEST", "DROPPED", 403, "http://web/secret")
      );
    });
    const { connections, requests } = await counted(node);
    assert.ok(connections.active > 0 && connections.taken >= connections.active, JSON.stringify(connections));
    assert.ok(requests.forwarded >= 3 && requests.denied >= 2, JSON.stringify(requests));

    // Without the agent and without the proxy everything goes on.
    await node.agent.stop("SIGKILL");
    await kill(proxy);
    assert.deepEqual([await one.ask("/other"), await one.ask("/public"), await ask("/other")], ["200", "403", "200"]);

    // What the kernel cannot decide ends the connection, and waits for the proxy.
    const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert.equal(await one.ask("/other", upgrade), "421");
    using early = connect();
    const answered = early.ask("/other", upgrade);
    assert.equal(await Promise.race([answered, wait(300, "nothing")]), "nothing");
    proxy = startProxy(node);
    await node.agent.start();
    using two = connect();
    assert.equal(await two.ask("/other", upgrade), "200");
    await until("no socket is the kernel's any more", async () => {
      one[Symbol.dispose]();
      return guarded() === 0;
    });
    assert.ok((await counted(node)).connections["handed-to-proxy"] > 0);
    assert.equal(await ask("/secret"), "403");
  });
});
