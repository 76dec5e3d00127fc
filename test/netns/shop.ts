import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { createServer, request } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { decode, encode, type Packet } from "dns-packet";
import type { Netns } from "#sys/netns.ts";
import { datagram, listener, stream } from "#sys/socket.ts";
import { ROOT, startNode, type TestNode, type TestPod } from "./node.ts";
import { echoServer } from "./traffic.ts";

export const [HTTP, ECHO] = [8080, 9090];
/** Where the outside is, and its name server. */
export const OUTSIDE = "172.31.9.1";
const ADDRESSES = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
const CNP = "ciliumnetworkpolicies.cilium.io";
/** A packet that was dropped stays away for so long; one that passes takes far less. */
const SILENCE_MS = 700;

export interface ShopPod extends TestPod {
  readonly ip: string;
}

/** A node with agent and proxy, and an outside with a name server, HTTP servers on port 8080 and echo servers on 9090, each at many addresses. */
export class Shop implements AsyncDisposable {
  readonly node: TestNode;
  /** What the name server says: for each name an address and its TTL in seconds. */
  readonly names = new Map<string, { readonly ip: string; readonly ttl: number }>();
  #scope: AsyncDisposableStack;

  private constructor(node: TestNode, scope: AsyncDisposableStack) {
    this.node = node;
    this.#scope = scope;
  }

  static async open(flags: readonly string[] = []): Promise<Shop> {
    await using scope = new AsyncDisposableStack();
    const node = scope.use(await startNode({ flags }));
    for (const ip of ADDRESSES) execFileSync("nsenter", [`--net=${node.world.path}`, "ip", "address", "add", `${ip}/32`, "dev", "lo"]);
    const proxy = startProxy(node);
    scope.defer(() => new Promise<void>((resolve) => proxy.once("exit", () => resolve()) && proxy.kill("SIGKILL")));
    const shop = new Shop(node, scope);
    await shop.#serveNames();
    await shop.serve(node.world);
    await node.agent.start();
    shop.#scope = scope.move();
    return shop;
  }

  /** HTTP and echo servers in a namespace. */
  async serve(netns: Netns): Promise<void> {
    const http = createServer((incoming, response) => response.end(`${incoming.method} ${incoming.url}`));
    await new Promise<void>((resolve) => http.listen({ fd: listener({ host: "0.0.0.0", port: HTTP, netns }) }, resolve));
    this.#scope.defer(() => {
      http.closeAllConnections();
      http.close();
    });
    this.#scope.use(await echoServer(netns, ECHO));
  }

  async addPod(name: string, app = name): Promise<ShopPod> {
    const pod = this.node.createPod(name, { app });
    const { output } = await this.node.cni("ADD", pod);
    return { ...pod, ip: (output as { ips: { address: string }[] }).ips[0]?.address.split("/")[0] ?? "" };
  }

  apply(name: string, spec: object): void {
    this.node.api.create(CNP, {
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { name, namespace: "default" },
      spec,
    } as never);
  }

  remove(name: string): void {
    this.node.api.delete(CNP, name, "default");
  }

  /** `cilium …` against this node's agent; what it printed. */
  async cilium(...args: string[]): Promise<string> {
    const env = { ...process.env, CILIUM_SOCKET_PATH: join(this.node.directory, "cilium.sock") };
    return (await promisify(execFile)(join(ROOT, "bin/cilium"), args, { env })).stdout;
  }

  /** The newest denied flows with their explanations. */
  async denials(): Promise<string> {
    const server = `unix://${join(this.node.directory, "hubble.sock")}`;
    const args = ["observe", "--server", server, "--verdict", "DROPPED", "--last", "200", "--explain"];
    return (await promisify(execFile)(join(ROOT, "bin/hubble"), args)).stdout;
  }

  async #serveNames(): Promise<void> {
    const socket = createSocket("udp4");
    socket.on("message", (message, { port, address }) => {
      const query = decode(message);
      const [{ name = "", type = "A" } = {}] = query.questions ?? [];
      const known = this.names.get(name.toLowerCase());
      const answers = known === undefined || type !== "A" ? [] : [{ type: "A", name, ttl: known.ttl, data: known.ip } as const];
      socket.send(encode({ ...query, type: "response", flags: 0x180, additionals: [], answers }), port, address);
    });
    const fd = datagram({ host: OUTSIDE, port: 53, netns: this.node.world });
    await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    this.#scope.defer(() => void socket.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#scope.disposeAsync().then(() => undefined);
  }
}

function startProxy({ directory, netns }: TestNode): ChildProcess {
  const files = {
    "proxy-socket-path": "proxy.sock",
    "proxy-state-path": "proxy.json",
    "dns-policy-path": "dns.json",
    "dns-cache-path": "names",
  };
  const paths = Object.entries({ "bpf-root": "bpf", ...files }).map(([flag, file]) => `--${flag}=${join(directory, file)}`);
  const program = [process.execPath, join(ROOT, "src/cmd/proxy.ts"), ...paths, "--enable-ipv6=false", "--proxy-prometheus-port=0"];
  return spawn("nsenter", [`--net=${netns.path}`, ...program], { stdio: "ignore" });
}

/** One question from a pod: the addresses, an rcode in capitals, or "" when nothing came. */
export async function lookup({ netns }: ShopPod, name: string): Promise<string> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind({ fd: datagram({ host: "0.0.0.0", port: 0, netns }) }, resolve));
  const question = encode({ type: "query", id: 7, flags: 0x100, questions: [{ type: "A", name }] });
  const answered = new Promise<Buffer | undefined>((resolve) => {
    socket.on("message", resolve).on("error", () => resolve(undefined));
    setTimeout(() => resolve(undefined), SILENCE_MS);
  });
  socket.send(question, 53, OUTSIDE);
  const answer = await answered;
  socket.close();
  if (answer === undefined) return "";
  const packet: Packet & { readonly rcode?: string } = decode(answer);
  const addresses = (packet.answers ?? []).flatMap((one) => (one.type === "A" ? [one.data] : []));
  return addresses.length > 0 ? addresses.join() : (packet.rcode ?? "");
}

/** The status of a request on a connection of its own; 0 when there is no answer. */
export function fetchStatus({ netns }: ShopPod, ip: string, path: string): Promise<number> {
  return new Promise((resolve) => {
    const socket = new Socket({ fd: stream({ family: 4, netns }) });
    const finish = (status: number) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(status);
    };
    const timer = setTimeout(() => finish(0), SILENCE_MS);
    socket.on("error", () => finish(0));
    socket.connect(HTTP, ip);
    const outgoing = request({ createConnection: () => socket, path, headers: { host: "shop" } }, (response) => {
      response.resume();
      finish(response.statusCode ?? 0);
    });
    outgoing.on("error", () => finish(0)).end();
  });
}
