import { execFileSync } from "node:child_process";
import type { DatapathConfig } from "#datapath/gen/config.ts";
import type { Program } from "#ebpf/bpf.ts";
import type { Netns } from "#sys/netns.ts";
import type { IpAddress } from "#types/addr.ts";
import { Lan, type Stranger } from "./lan.ts";
import { type Family, RealNode, type RealPod, serve } from "./nodes.ts";
import { answerDatagrams } from "./service-traffic.ts";
import { makeCgroup, type TestCgroup } from "./socket-hooks.ts";

/** Identities of the pods. */
export const [CLIENT, SERVER] = [10001, 10002];
/** The port all servers listen on. */
export const TARGET = 8080;

/** The same place in both families. */
export type Place = Readonly<Record<Family, IpAddress>>;
const place = (ipv4: string, ipv6: string): Place => ({ ipv4: ipv4 as IpAddress, ipv6: ipv6 as IpAddress });
export const CLUSTER_IP = place("10.96.0.10", "fd00:10:96::10");
export const BALANCER = place("192.0.2.10", "fd00:192::10");
export const EXTERNAL = place("198.51.100.10", "fd00:198::10");
export const LOOPBACK = place("169.254.42.1", "fd00:169:254:42::1");
export const ANY = place("0.0.0.0", "::");

/** Two nodes, a pod that calls, pods that are called, and a machine out of the cluster that sends to services by way of the first node. */
export interface ServiceWorld extends AsyncDisposable {
  readonly lan: Lan;
  readonly nodes: readonly [RealNode, RealNode];
  readonly client: RealPod;
  /** On the node of the caller, on the other, and the caller itself. Their servers, and `host` and `other` on the nodes, tell their name. */
  readonly pods: Readonly<Record<"near" | "far" | "self", RealPod>>;
  readonly world: Stranger;
  /** Its sockets are translated as the first node knows services. */
  readonly cgroup: TestCgroup;
  readonly socketPrograms: readonly Program[];
}

/** The kernel tells a machine but once a second that a port is closed. */
function tellAtOnce(netns: Netns): void {
  execFileSync("nsenter", [`--net=${netns.path}`, "sysctl", "-qw", "net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0"]);
}

export async function makeServiceWorld(prefix: string, constants: Partial<DatapathConfig> = {}): Promise<ServiceWorld> {
  const lan = new Lan(prefix);
  const nodes = [new RealNode(prefix, 1), new RealNode(prefix, 2)] as const;
  lan.join(nodes);
  for (const node of nodes) node.start(constants);
  const client = nodes[0].addPod("a", CLIENT);
  const pods = { near: nodes[0].addPod("b", SERVER), far: nodes[1].addPod("c", SERVER), self: client };
  for (const node of nodes) node.learn(nodes);
  const world = lan.addStranger(nodes[0], [BALANCER, EXTERNAL].flatMap(Object.values<IpAddress>));
  const cgroup = makeCgroup(prefix);
  const socketPrograms = nodes[0].translateSockets(cgroup.path);
  const servers: AsyncDisposable[] = [];
  for (const [name, { netns }] of Object.entries({ ...pods, host: nodes[0], other: nodes[1] })) {
    tellAtOnce(netns);
    for (const host of Object.values(ANY))
      servers.push(await serve(netns, name, host, TARGET), await answerDatagrams(netns, name, host, TARGET));
  }
  return {
    lan,
    nodes,
    client,
    pods,
    world,
    cgroup,
    socketPrograms,
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
      for (const node of nodes) node[Symbol.dispose]();
      lan[Symbol.dispose]();
      cgroup[Symbol.dispose]();
    },
  };
}
