import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer, request } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Netns } from "#sys/netns.ts";
import { listener, stream } from "#sys/socket.ts";
import { ROOT, startNode, type TestNode, type TestPod, until } from "./node.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const CNP = "ciliumnetworkpolicies.cilium.io";

const policy = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "web", namespace: "default" },
  spec: {
    endpointSelector: { matchLabels: { app: "web" } },
    ingress: [
      {
        fromEndpoints: [{ matchLabels: { app: "client" } }],
        toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }], rules: { http: [{ method: "GET", path: "/public" }] } }],
      },
    ],
  },
};

/** The L7 proxy as a process in the node's namespace. */
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
  return spawn("nsenter", args, { stdio: ["ignore", "ignore", "ignore"] });
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

/** The status of one request on a connection of its own; 0 when there is no answer. */
function get(netns: Netns, host: string, path: string, timeoutMs = 1000): Promise<number> {
  return new Promise((resolve) => {
    const socket = new Socket({ fd: stream({ family: 4, netns }) });
    const finish = (status: number) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(status);
    };
    const timer = setTimeout(() => finish(0), timeoutMs);
    socket.on("error", () => finish(0));
    socket.connect(8080, host);
    const outgoing = request({ createConnection: () => socket, path, headers: { host: "web" } }, (response) => {
      response.resume();
      finish(response.statusCode ?? 0);
    });
    outgoing.on("error", () => finish(0)).end();
  });
}

describe("agent and proxy", { skip: missing }, () => {
  it("decide HTTP together, and each survives the other's death without opening anything", async () => {
    await using node = await startNode();
    let proxy = startProxy(node);
    await using scope = new AsyncDisposableStack();
    scope.defer(() => kill(proxy));
    await node.agent.start();
    const [web, client] = [await addPod(node, "web"), await addPod(node, "client")];
    scope.use(await serve(web.pod.netns));
    const ask = (path: string, timeoutMs?: number) => get(client.pod.netns, web.ip, path, timeoutMs);
    assert.deepEqual([await ask("/public"), await ask("/secret")], [200, 200]);
    node.api.create(CNP, policy);
    await until("the secret is denied", async () => (await ask("/secret", 300)) === 403);
    assert.equal(await ask("/public"), 200);

    await node.agent.stop("SIGKILL");
    assert.deepEqual([await ask("/public"), await ask("/secret")], [200, 403]);
    await node.agent.start();
    assert.deepEqual([await ask("/public"), await ask("/secret")], [200, 403]);

    await kill(proxy);
    assert.deepEqual([await ask("/public", 300), await ask("/secret", 300)], [0, 0]);
    proxy = startProxy(node);
    await until("the proxy is back", async () => (await ask("/public", 300)) === 200);
    assert.equal(await ask("/secret"), 403);

    // New connections succeed throughout while the rule goes: the proxy keeps its rules until the kernel has let go.
    const answers: number[] = [];
    node.api.delete(CNP, "web", "default");
    await until("the secret is open", async () => {
      answers.push(await ask("/public"));
      return (await ask("/secret")) === 200;
    });
    assert.deepEqual([...new Set(answers)], [200]);
  });
});
