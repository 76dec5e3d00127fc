import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { maps } from "#datapath/gen/maps.ts";
import { openBpf } from "#ebpf/kernel.ts";
import type { Netns } from "#sys/netns.ts";
import { listener, stream } from "#sys/socket.ts";
import { ROOT, startNode, type TestNode, type TestPod, until } from "./node.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
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
  ];
  return spawn("nsenter", args, { stdio: "ignore" });
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
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
  const server = createServer((_, response) => response.end("hello"));
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
    while (!this.#closed && !/\r\n\r\n./.test(this.#text)) await new Promise<void>((resolve) => (this.#wake = resolve));
    return /^HTTP\/1\.1 (\d+)/.exec(this.#text)?.[1] ?? "closed";
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

describe("agent and kernel", { skip: missing }, () => {
  it("decide HTTP without the proxy for clients that it has seen, follow policy, and leave the rest to it", {
    timeout: 60_000,
  }, async () => {
    await using node = await startNode({ flags: ["--enable-kernel-http"] });
    const proxy = startProxy(node);
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
    assert.deepEqual([await one.ask("/public"), await one.ask("/secret"), await one.ask("/public/x")], ["200", "403", "200"]);
    // The next request on a live connection is under the policy of now.
    node.api.apply(CNP, policyFor("/other"), { fieldManager: "test", force: true });
    await until("the public is denied", async () => (await one.ask("/public")) === "403");
    assert.equal(await one.ask("/other"), "200");

    // Without the agent and without the proxy everything goes on.
    await node.agent.stop("SIGKILL");
    assert.deepEqual([await one.ask("/other"), await one.ask("/public"), await ask("/other")], ["200", "403", "200"]);
    await node.agent.start();

    // What the kernel cannot decide ends the connection, and the proxy has the next one.
    assert.equal(await one.ask("/other", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), "421");
    using two = connect();
    assert.equal(await two.ask("/other", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), "200");
    await until("no socket is the kernel's any more", async () => {
      one[Symbol.dispose]();
      return guarded() === 0;
    });
    assert.equal(await ask("/secret"), "403");
  });
});
