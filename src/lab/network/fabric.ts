import { join } from "node:path";
import type { LabConfig, NodeConfig } from "../config.ts";
import { LabError } from "../errors.ts";
import { paths } from "../paths.ts";
import { captureIn, makeSandbox, type Sandbox } from "../process/sandbox.ts";
import { UNDERLAY_BITS, WORLD, WORLD_ADDRESSES, WORLD_ADDRESSES_V6 } from "./addresses.ts";

export const BRIDGE_NETNS = "cilia-fabric";
export const WORLD_NETNS = "cilia-world";

/** Where `ip netns` and we look for network namespaces by name. */
export function netnsPath(name: string): string {
  return join("/run/netns", name);
}

// Routers keep no state of their own here, and duplicate address detection would delay every start by a second.
const SYSCTLS = [
  "net/ipv4/ip_forward=1",
  "net/ipv4/conf/all/rp_filter=0",
  "net/ipv4/conf/default/rp_filter=0",
  "net/ipv6/conf/all/forwarding=1",
  "net/ipv6/conf/all/accept_dad=0",
  "net/ipv6/conf/default/accept_dad=0",
  // After a time of denied packets a connection goes on at once, not after TCP's minutes. Since Linux 6.15.
  "net/ipv4/tcp_rto_max_ms=1000",
];

/** Makes the namespace of the bridge or of the world: a network of its own, the machine's files. */
export function makeNetworkSandbox(name: string, cgroup: string): Promise<Sandbox> {
  return makeSandbox([
    ["cgroup", cgroup],
    ["newnet", netnsPath(name)],
    ["unshare", "private"],
    ["hostname", name],
  ]);
}

/**
 * Connects the nodes and the world by a bridge; the namespaces exist already. Rejects with what `ip` said. Packets leave a machine with
 * their checksums, as from a card: a program at the driver cannot finish what veths leave unfinished.
 */
export async function connectFabric(config: LabConfig, bridge: Sandbox, world: Sandbox, nodes: readonly Sandbox[]): Promise<void> {
  await configure(bridge, bridgeCommands(world, nodes));
  await Promise.all([
    configure(world, worldCommands(config), "eth0"),
    ...config.nodes.map((node, index) => configure(nodes[index] ?? world, nodeCommands(node, config.ipv6), "eth0")),
  ]);
}

function bridgeCommands(world: Sandbox, nodes: readonly Sandbox[]): string[] {
  const port = (name: string, { pid }: Sandbox) => [
    `link add ${name} up mtu 1500 type veth peer name eth0 mtu 1500 netns ${pid}`,
    `link set ${name} master bridge0`,
  ];
  return [
    "link add bridge0 up type bridge forward_delay 0 stp_state 0",
    ...port("world", world),
    ...nodes.flatMap((node, index) => port(`node${index}`, node)),
  ];
}

function nodeCommands(node: NodeConfig, ipv6: boolean): string[] {
  const v4 = [`address add ${node.ipv4}/${UNDERLAY_BITS.v4} dev eth0`, "link set eth0 up", `route add default via ${WORLD.gateway}`];
  if (!ipv6) return v4;
  return [...v4, `address add ${node.ipv6}/${UNDERLAY_BITS.v6} dev eth0 nodad`, `route add default via ${WORLD.gatewayV6}`];
}

function worldCommands(config: LabConfig): string[] {
  const v4 = [
    `address add ${WORLD.gateway}/${UNDERLAY_BITS.v4} dev eth0`,
    "link set eth0 up",
    ...WORLD_ADDRESSES.map((address) => `address add ${address}/32 dev lo`),
    ...config.nodes.map((node) => `route add ${node.podCidrs[0]} via ${node.ipv4}`),
  ];
  if (!config.ipv6) return v4;
  return [
    ...v4,
    `address add ${WORLD.gatewayV6}/${UNDERLAY_BITS.v6} dev eth0 nodad`,
    ...WORLD_ADDRESSES_V6.map((address) => `address add ${address}/128 dev lo nodad`),
    ...config.nodes.map((node) => `route add ${node.podCidrs[1]} via ${node.ipv6}`),
  ];
}

/** Runs `ip` with the commands; `card` is the device that behaves like one. */
async function configure(sandbox: Sandbox, commands: readonly string[], card?: string): Promise<void> {
  const sysctls = SYSCTLS.map((setting) => setting.replace(/(.*)=(.*)/, "[ ! -e /proc/sys/$1 ] || echo $2 > /proc/sys/$1")).join("; ");
  const batch = ["link set lo up", ...commands].join("\n");
  const offload = card ? ` && exec '${paths.sandbox}' offload ${card} checksums off` : "";
  const result = await captureIn({ sandbox }, ["sh", "-c", `${sysctls}; ip -batch -${offload}`], batch);
  if (result.code !== 0) throw new LabError("network", `ip -batch: ${result.stderr.trim()}`);
}
