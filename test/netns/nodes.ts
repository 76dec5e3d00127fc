import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { createServer, Socket } from "node:net";
import { type DatapathConfig, encodeConfig } from "#datapath/gen/config.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { Link, LoadedObject, Program, XdpMode } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { createNetnsAt, deleteNetnsAt, inNetns, type Netns, netnsCookie, openNetns } from "#sys/netns.ts";
import { datagram, listener, spoofedStream, stream } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import { parseMac } from "#types/mac.ts";
import { NodeMaps, type Pod, type PolicyOfPod } from "../../bpf/tests/maps.ts";
import { ServiceMaps } from "../../bpf/tests/service-maps.ts";
import { attachSocketHooks } from "./socket-hooks.ts";

const HOST_IDENTITY = 1;
const REMOTE_NODE_IDENTITY = 6;
const FAMILIES = ["ipv4", "ipv6"] as const;
const SYSCTLS = [
  "net/ipv4/ip_forward=1",
  "net/ipv4/conf/all/rp_filter=0",
  "net/ipv4/conf/default/rp_filter=0",
  "net/ipv4/conf/all/accept_local=1",
  "net/ipv6/conf/all/forwarding=1",
  "net/ipv6/conf/default/accept_dad=0",
];

export type Family = (typeof FAMILIES)[number];

/** A pod with a network namespace of its own. */
export interface RealPod extends Pod {
  readonly netns: Netns;
  readonly node: RealNode;
}

export function ip(netns: string, ...lines: readonly string[]): void {
  execFileSync("nsenter", [`--net=${netns}`, "ip", "-force", "-batch", "-"], {
    input: `${lines.join("\n")}\n`,
    stdio: ["pipe", "ignore", "pipe"],
  });
}

export function ifindexOf(netns: string, device: string): number {
  const output = execFileSync("nsenter", [`--net=${netns}`, "ip", "-json", "link", "show", device]).toString();
  const [link] = JSON.parse(output) as { ifindex: number }[];
  if (!link) throw new Error(`no device ${device}`);
  return link.ifindex;
}

function mac(text: string): Pod["mac"] {
  const parsed = parseMac(text);
  if (!parsed) throw new Error(`not a MAC: ${text}`);
  return parsed;
}

/** A node: a namespace with the datapath's programs on its device and its pods' veths, set up as the agent would. */
export class RealNode implements Disposable {
  readonly number: number;
  readonly path: string;
  readonly netns: Netns;
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
  readonly pods: RealPod[] = [];
  readonly #paths: string[] = [];
  #objects: LoadedObject[] = [];
  readonly #podLinks: [program: string, link: Link][] = [];
  #maps: NodeMaps | undefined;
  #driver: Link | undefined;
  #services: ServiceMaps | undefined;
  readonly #prefix: string;

  constructor(prefix: string, number: number) {
    this.#prefix = prefix;
    this.number = number;
    this.path = this.#makeNetns(`n${number}`);
    this.netns = openNetns(this.path);
    this.ipv4 = `172.18.0.${number + 1}` as IpAddress;
    this.ipv6 = `fd00:172:18::${number + 1}` as IpAddress;
  }

  #makeNetns(name: string): string {
    const path = `/run/netns/${this.#prefix}${name}`;
    createNetnsAt(path);
    this.#paths.push(path);
    return path;
  }

  get maps(): NodeMaps {
    if (!this.#maps) throw new Error("the node has not started");
    return this.#maps;
  }

  get services(): ServiceMaps {
    if (!this.#services) throw new Error("the node has not started");
    return this.#services;
  }

  /** Joins eth0 of two nodes. */
  static connect(a: RealNode, b: RealNode): void {
    ip(a.path, `link add eth0 type veth peer name eth0 netns ${b.path}`);
    a.configure([b]);
    b.configure([a]);
  }

  /** Sets the node's stack up, once eth0 is there. */
  configure(peers: readonly RealNode[]): void {
    execFileSync("nsenter", [`--net=${this.path}`, "sysctl", "-qw", ...SYSCTLS]);
    execFileSync("nsenter", [`--net=${this.path}`, "ip", "-6", "rule", "add", "fwmark", "0x200/0xf00", "lookup", "2004", "pref", "9"]);
    ip(
      this.path,
      "link set lo up",
      "link set eth0 up",
      `addr add ${this.ipv4}/24 dev eth0`,
      `addr add ${this.ipv6}/64 dev eth0 nodad`,
      "rule add fwmark 0x200/0xf00 lookup 2004 pref 9",
      "route add local 0.0.0.0/0 dev lo table 2004",
      "route add local ::/0 dev lo table 2004",
      ...peers.flatMap((peer) => [
        `route add 10.244.${peer.number}.0/24 via ${peer.ipv4}`,
        `route add fd00:10:244:${peer.number}::/64 via ${peer.ipv6}`,
      ]),
    );
  }

  /** Loads the programs and attaches the device's. */
  start(constants: Partial<DatapathConfig> = {}): void {
    const bpf = openBpf();
    const node = ifindexOf(this.path, "eth0");
    const load = (object: string, reuse?: LoadedObject): LoadedObject =>
      loadFor(object, { nodeIfindex: node, monitorAggregation: 3, ...constants }, reuse);
    const lxc = load("bpf_lxc");
    const host = load("bpf_host", lxc);
    this.#objects = [lxc, host];
    const fds = Object.fromEntries(lxc.mapNames.map((name) => [name, fdOf(lxc, name).fd]));
    this.#maps = new NodeMaps(fds);
    this.#services = new ServiceMaps(fds);
    this.#services.setNode({ ipv4: this.ipv4, ipv6: this.ipv6, netnsCookie: netnsCookie(this.netns) });
    inNetns(this.netns, () => {
      bpf.attachTcx(host.program("cil_from_netdev"), node, "ingress");
      bpf.attachTcx(host.program("cil_to_netdev"), node, "egress");
    });
  }

  /** The pods' programs and their maps, for others that share these. */
  get object(): LoadedObject {
    const [lxc] = this.#objects;
    if (!lxc) throw new Error("the node has not started");
    return lxc;
  }

  /** Packets that went on with that outcome (a drop reason, or 0) in that direction. */
  counted(reason: number, direction: number): number {
    const [lxc] = this.#objects;
    const values = lxc?.perCpuMap(specs.ciliumMetrics).get(reason + 256 * direction) ?? [];
    return values.reduce((sum, { count }) => sum + Number(count), 0);
  }

  /** Puts the driver's program on eth0, or with none takes it off. */
  accelerate(mode: XdpMode | undefined): void {
    this.#driver?.detach();
    this.#driver = undefined;
    if (!mode) return;
    const xdp = loadFor("bpf_xdp", {}, this.#objects[0]);
    this.#objects.push(xdp);
    this.#driver = inNetns(this.netns, () => openBpf().attachXdp(xdp.program("cil_xdp_entry"), ifindexOf(this.path, "eth0"), mode));
  }

  /** Translates services at sockets of a cgroup, as this node sees them. */
  translateSockets(cgroup: string): Program[] {
    const sock = loadFor("bpf_sock", {}, this.#objects[0]);
    this.#objects.push(sock);
    return attachSocketHooks(sock, cgroup);
  }

  /** Makes the pod's namespace and veth and attaches its programs. */
  addPod(name: string, identity: number, policy: PolicyOfPod = {}): RealPod {
    const [lxc] = this.#objects;
    if (!lxc) throw new Error("the node has not started");
    const bpf = openBpf();
    const n = this.pods.length + 1;
    const path = this.#makeNetns(name);
    const device = `lxc${name}`;
    const macs = { mac: `02:00:00:00:0${this.number}:0${n}`, nodeMac: `02:00:00:00:1${this.number}:0${n}` };
    const addresses = { ipv4: `10.244.${this.number}.${10 + n}` as IpAddress, ipv6: `fd00:10:244:${this.number}::${10 + n}` as IpAddress };
    ip(
      this.path,
      `link add ${device} address ${macs.nodeMac} type veth peer name eth0 address ${macs.mac} netns ${path}`,
      `link set ${device} up`,
    );
    ip(
      path,
      "link set lo up",
      "link set eth0 up",
      `addr add ${addresses.ipv4}/32 dev eth0`,
      `addr add ${addresses.ipv6}/128 dev eth0 nodad`,
      "route add 169.254.1.1 dev eth0 scope link",
      "route add default via 169.254.1.1",
      "route add fe80::1 dev eth0",
      "route add ::/0 via fe80::1 dev eth0",
    );
    ip(
      this.path,
      ...FAMILIES.flatMap((family) => [
        `route add ${addresses[family]} dev ${device}`,
        `neigh replace ${addresses[family]} lladdr ${macs.mac} dev ${device} nud permanent`,
      ]),
    );
    const pod: RealPod = {
      name,
      lxcId: this.number * 100 + n,
      identity,
      ...addresses,
      ifindex: ifindexOf(this.path, device),
      mac: mac(macs.mac),
      nodeMac: mac(macs.nodeMac),
      netns: openNetns(path),
      node: this,
    };
    inNetns(this.netns, () => {
      for (const [program, direction] of [
        ["cil_from_container", "ingress"],
        ["cil_to_container", "egress"],
      ] as const)
        this.#podLinks.push([program, bpf.attachTcx(lxc.program(program), pod.ifindex, direction)]);
    });
    this.maps.addPod(pod, policy);
    this.pods.push(pod);
    return pod;
  }

  /** Puts another object's programs in the place of all pods'; connections go on when both share their maps. */
  exchange(object: LoadedObject): void {
    for (const [program, link] of this.#podLinks) link.update(object.program(program));
  }

  /** Tells this node where the others' pods are, as the agent learns it from their CiliumEndpoints. */
  learn(nodes: readonly RealNode[]): void {
    for (const node of nodes) {
      for (const family of FAMILIES) {
        const own = node === this;
        this.maps.know(node[family], own ? HOST_IDENTITY : REMOTE_NODE_IDENTITY);
        for (const pod of node.pods) this.maps.know(pod[family], pod.identity, own ? undefined : node[family]);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const pod of this.pods) pod.netns.close();
    for (const path of this.#paths.reverse()) deleteNetnsAt(path);
    this.netns.close();
    this.#maps?.[Symbol.dispose]();
    this.#services?.[Symbol.dispose]();
    for (const object of this.#objects) object.close();
  }
}

/** Loads an object, with the maps of another. */
export function loadFor(object: string, constants: Partial<DatapathConfig>, reuse?: LoadedObject): LoadedObject {
  const shared = reuse?.mapNames.filter((name) => name.startsWith("cilium_")).map((name) => [name, fdOf(reuse, name)] as const);
  return openBpf().load(new URL(`../../bpf/${object}.o`, import.meta.url).pathname, {
    config: { ".rodata.config": encodeConfig(object, constants) },
    ...(shared ? { reuse: Object.fromEntries(shared) } : {}),
  });
}

function fdOf(
  object: LoadedObject,
  name: string,
): { readonly fd: number; pin(path: string): void; close(): void; [Symbol.dispose](): void } {
  // ringMap() is the one accessor that opens a map of any kind without a spec.
  return object.ringMap(name);
}

/** A TCP server in a namespace that answers every chunk with `<name>:<peer address>:<chunk>`. */
export async function serve(netns: Netns, name: string, host: string, port: number): Promise<AsyncDisposable> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
    socket.on("data", (chunk) => socket.write(`${name}:${socket.remoteAddress}:${chunk.toString()}`));
  });
  await new Promise<void>((resolve) => server.listen({ fd: listener({ host, port, netns }) }, resolve));
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A UDP server in a namespace that sends every datagram back. */
export async function echo(netns: Netns, host: string, port: number): Promise<AsyncDisposable> {
  const server = createSocket(host.includes(":") ? "udp6" : "udp4");
  server.on("message", (message, from) => server.send(message, from.port, from.address));
  await new Promise<void>((resolve) => server.bind({ fd: datagram({ host, port, netns }) }, resolve));
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(resolve)) };
}

/** Opens a connection from a namespace; rejects when it is refused or not there within the time. */
export function dial(netns: Netns, address: IpAddress, port: number, timeoutMs = 800, signal?: AbortSignal): Promise<Socket> {
  return connected(new Socket({ fd: stream({ family: address.includes(":") ? 6 : 4, netns }) }), address, port, timeoutMs, signal);
}

/** The same from an address and port of the namespace. */
export function dialFrom(netns: Netns, source: string, sourcePort: number, address: IpAddress, port: number): Promise<Socket> {
  return connected(new Socket({ fd: spoofedStream({ source, sourcePort, netns }) }), address, port, 3000);
}

function connected(socket: Socket, address: IpAddress, port: number, timeoutMs: number, signal?: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(new Error("timeout")), timeoutMs);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    socket.once("error", fail);
    signal?.addEventListener("abort", () => fail(new Error("aborted")));
    socket.connect(port, address, () => {
      clearTimeout(timer);
      socket.off("error", fail);
      socket.on("error", () => socket.destroy());
      resolve(socket);
    });
  });
}

/** Sends one line and waits for the answer. */
export function ask(socket: Socket, text: string, timeoutMs = 800): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("timeout")), timeoutMs);
    const done = (settle: () => void): void => {
      clearTimeout(timer);
      settle();
    };
    socket.once("data", (chunk) => done(() => resolve(chunk.toString())));
    socket.once("close", () => done(() => reject(new Error("closed"))));
    socket.write(text);
  });
}
