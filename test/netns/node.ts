import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parse } from "yaml";
import { type ApiServer, startApiServer } from "#apiserver/apiserver.ts";
import type { LocalClient } from "#apiserver/client.ts";
import { createNetns, deleteNetns, netnsPath } from "#netlink/netns.ts";
import { openNetlink } from "#netlink/socket.ts";
import { silentLogger } from "#runtime/logger.ts";
import { mount, unmount } from "#sys/mount.ts";
import type { Netns } from "#sys/netns.ts";
import { listener } from "#sys/socket.ts";

export const ROOT = join(import.meta.dirname, "..", "..");
const API_PORT = 6443;
const NODE_IPV6 = "fd00:172:31:9::2";

/** One node of a cluster: a network namespace with its own bpf file system and directories, an API server, and a real agent process. */
export interface TestNode extends AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly netns: Netns;
  /** Outside of the cluster, at 172.31.9.1. */
  readonly world: Netns;
  readonly directory: string;
  readonly api: LocalClient;
  readonly agent: AgentProcess;
  /** Makes a pod's namespace and object, as scheduler and kubelet would. `ports` are its container's. */
  createPod(name: string, labels: Record<string, string>, ports?: readonly object[]): TestPod;
  /** Takes a pod's namespace away under it. */
  destroyPod(pod: TestPod): void;
  /** Runs the real CNI plugin. Resolves with its exit code and what it printed. */
  cni(command: string, pod: TestPod, netns?: string): Promise<{ code: number; output: unknown; ms: number }>;
}

export interface TestPod {
  readonly name: string;
  readonly uid: string;
  readonly containerId: string;
  readonly netns: Netns;
}

export interface AgentProcess {
  readonly process: ChildProcess | undefined;
  readonly logFile: string;
  /** Starts the agent and waits until it is ready. Resolves with the milliseconds that took. */
  start(): Promise<number>;
  /** Ends it by this signal and waits until it is gone. */
  stop(signal: NodeJS.Signals): Promise<void>;
  /** Requests of the local API. */
  get(path: string): Promise<unknown>;
  send(method: string, path: string, body: unknown): Promise<unknown>;
}

let nodes = 0;

/** Sets everything up; disposing removes it all. `flags` are added to the agent's. */
export async function startNode({
  flags = [],
  ipv6 = false,
}: {
  readonly flags?: readonly string[];
  readonly ipv6?: boolean;
} = {}): Promise<TestNode> {
  await using scope = new AsyncDisposableStack();
  nodes += 1;
  const prefix = `agt${process.pid}-${nodes}`;
  const name = `node-${nodes}`;
  const address = "172.31.9.2";
  const directory = mkdtempSync(join(tmpdir(), "agent-test-"));
  scope.defer(() => rmSync(directory, { recursive: true, force: true }));
  const bpfRoot = join(directory, "bpf");
  mkdirSync(bpfRoot);
  mount({ source: "bpf", target: bpfRoot, type: "bpf" });
  scope.defer(() => unmount(bpfRoot));
  const [netns, world] = [createNetns(`${prefix}-n`), createNetns(`${prefix}-w`)];
  scope.defer(() => {
    netns.close();
    world.close();
    deleteNetns(`${prefix}-n`);
    deleteNetns(`${prefix}-w`);
  });
  connectUnderlay(netns, world, address);
  const api = scope.use(await startApi(directory, netns, address));
  seed(api.client, name, address, ipv6);
  const kubeconfig = join(directory, "kubeconfig");
  writeFileSync(kubeconfig, api.kubeconfig({ server: `https://${address}:${API_PORT}` }));
  const agent = createAgent({
    directory,
    name,
    kubeconfig,
    bpfRoot,
    netns: netnsPath(`${prefix}-n`),
    flags: ipv6 ? [...flags, "--enable-ipv6"] : flags,
  });
  scope.defer(() => agent.stop("SIGTERM"));
  const moved = scope.move();
  return {
    name,
    address,
    netns,
    world,
    directory,
    api: api.client,
    agent,
    createPod: createPods(moved, prefix, name, api.client),
    destroyPod,
    cni: (command, pod, path) => runPlugin(directory, command, pod, path ?? pod.netns.path),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

function connectUnderlay(netns: Netns, world: Netns, address: string): void {
  using node = openNetlink({ netns });
  using outside = openNetlink({ netns: world });
  const pair = node.createVeth({ name: "eth0", peer: { name: "eth0", netns: world } });
  node.apply([
    { set: "link", name: "lo", up: true },
    { set: "link", index: pair.index, up: true },
    { set: "address", index: pair.index, address: `${address}/24` },
    { set: "address", index: pair.index, address: `${NODE_IPV6}/64` },
  ]);
  outside.apply([
    { set: "link", name: "lo", up: true },
    { set: "link", index: pair.peerIndex, up: true },
    { set: "address", index: pair.peerIndex, address: "172.31.9.1/24" },
    { set: "route", to: "10.244.0.0/16", via: address },
  ]);
  node.apply([{ set: "route", to: "default", via: "172.31.9.1" }]);
}

function startApi(directory: string, netns: Netns, address: string): Promise<ApiServer> {
  const fd = listener({ host: address, port: API_PORT, netns });
  return startApiServer({ log: silentLogger }, { directory: join(directory, "api"), listeners: [{ fd, address, port: API_PORT }] });
}

function seed(api: LocalClient, name: string, address: string, ipv6: boolean): void {
  const crds = join(ROOT, "api", "crds");
  for (const file of readdirSync(crds))
    api.create("customresourcedefinitions.apiextensions.k8s.io", parse(readFileSync(join(crds, file), "utf8")));
  api.create("nodes", {
    metadata: { name },
    spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24", ...(ipv6 ? ["fd00:10:244:1::/64"] : [])] },
  });
  const addresses = [address, ...(ipv6 ? [NODE_IPV6] : [])].map((one) => ({ type: "InternalIP", address: one }));
  api.update("nodes", { ...api.get<object>("nodes", name), status: { addresses } } as never, {
    subresource: "status",
  });
}

interface AgentPlace {
  readonly directory: string;
  readonly name: string;
  readonly kubeconfig: string;
  readonly bpfRoot: string;
  readonly netns: string;
  readonly flags: readonly string[];
}

function createAgent({ directory, name, kubeconfig, bpfRoot, netns, flags }: AgentPlace): AgentProcess {
  const logFile = join(directory, "agent.log");
  const socket = join(directory, "cilium.sock");
  const args = [
    `--k8s-kubeconfig-path=${kubeconfig}`,
    `--k8s-node-name=${name}`,
    `--bpf-root=${bpfRoot}`,
    `--state-dir=${join(directory, "state")}`,
    `--socket-path=${socket}`,
    `--cni-socket-path=${join(directory, "cni.sock")}`,
    `--proxy-socket-path=${join(directory, "proxy.sock")}`,
    `--hubble-socket-path=${join(directory, "hubble.sock")}`,
    `--write-cni-conf-when-ready=${join(directory, "net.d", "05-cilium.conflist")}`,
    "--cni-bin-dir=",
    "--kube-proxy-replacement=false",
    ...flags,
  ];
  let child: ChildProcess | undefined;
  const get = (path: string) => askAgent(socket, "GET", path);
  return {
    logFile,
    get,
    send: (method, path, body) => askAgent(socket, method, path, body),
    get process() {
      return child;
    },
    async start() {
      const started = performance.now();
      const log = createWriteStream(logFile, { flags: "a" });
      const command = [`--net=${netns}`, process.execPath, join(ROOT, "src/cmd/agent.ts"), ...args];
      child = spawn("nsenter", command, { stdio: ["ignore", "ignore", "pipe"] });
      child.stderr?.pipe(log);
      await until("the agent is ready", async () => {
        if (child?.exitCode !== null) throw new Error(`the agent ended: ${readFileSync(logFile, "utf8").slice(-2000)}`);
        const status = (await get("/v1/healthz").catch(() => undefined)) as { cilium?: { state: string } } | undefined;
        return status?.cilium?.state === "Ok" && existsSync(join(directory, "cni.sock"));
      });
      return performance.now() - started;
    },
    async stop(signal) {
      const running = child;
      if (!running || running.exitCode !== null || running.signalCode !== null) return;
      const gone = new Promise((resolve) => running.once("exit", resolve));
      running.kill(signal);
      await gone;
    },
  };
}

/** Polls until the condition holds; rejects after a while, or when the condition throws. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function askAgent(socketPath: string, method: string, path: string, body?: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, method }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve(JSON.parse(text)));
    });
    outgoing.on("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const livingNetns = new Set<Netns>();

function destroyPod({ netns }: TestPod): void {
  destroyNetns(netns);
}

/** The namespace goes with its last descriptor. */
function destroyNetns(netns: Netns): void {
  if (!livingNetns.delete(netns)) return;
  netns.close();
  deleteNetns(basename(netns.path));
}

function createPods(scope: AsyncDisposableStack, prefix: string, nodeName: string, api: LocalClient) {
  let count = 0;
  return (name: string, labels: Record<string, string>, ports: readonly object[] = []): TestPod => {
    count += 1;
    const netns = createNetns(`${prefix}-p${count}`);
    livingNetns.add(netns);
    scope.defer(() => destroyNetns(netns));
    const spec = { nodeName, containers: [{ name: "main", image: "none", ports }] };
    const pod = api.create<{ metadata: { name: string; uid: string } }>("pods", {
      metadata: { name, namespace: "default", labels },
      spec,
    } as never);
    return { name, uid: pod.metadata.uid, containerId: `${prefix}c${count}`, netns };
  };
}

function runPlugin(
  directory: string,
  command: string,
  pod: TestPod,
  netns: string,
): Promise<{ code: number; output: unknown; ms: number }> {
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: pod.containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: "eth0",
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid}`,
    CNI_PATH: "/opt/cni/bin",
  };
  const config = { cniVersion: "1.0.0", name: "cilium", type: "cilium-cni", "agent-socket": join(directory, "cni.sock") };
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(join(ROOT, "build/cilium-cni"), [], { env, stdio: ["pipe", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({ code: code ?? -1, output: text === "" ? undefined : JSON.parse(text), ms: performance.now() - started }),
    );
    child.stdin.end(JSON.stringify(config));
  });
}
