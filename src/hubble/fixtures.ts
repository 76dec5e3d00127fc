import type { PacketEvent } from "#monitor/events.ts";
import { buildPacket } from "#packet/build.ts";
import { TcpFlag } from "#packet/headers.ts";
import { IpAddress } from "#types/addr.ts";
import { type EndpointNames, type Names, noNames, type PolicyNames } from "./names.ts";

/** Two pods of the Star Wars demo, a policy and a name server: what the tests and benchmarks of this folder talk about. */
export const TIEFIGHTER: EndpointNames = {
  id: 0,
  identity: 4208,
  namespace: "default",
  podName: "tiefighter",
  labels: ["k8s:class=tiefighter", "k8s:io.kubernetes.pod.namespace=default", "k8s:org=empire"],
  workloads: [{ name: "tiefighter", kind: "Pod" }],
  clusterName: "default",
};

export const DEATHSTAR: EndpointNames = {
  id: 1423,
  identity: 16530,
  namespace: "default",
  podName: "deathstar-6f87496b94-9ltxh",
  labels: ["k8s:class=deathstar", "k8s:io.kubernetes.pod.namespace=default", "k8s:org=empire"],
  workloads: [{ name: "deathstar", kind: "Deployment" }],
  clusterName: "default",
};

export const RULE1: PolicyNames = {
  kind: "CiliumNetworkPolicy",
  namespace: "default",
  name: "rule1",
  labels: ["k8s:io.cilium.k8s.policy.name=rule1"],
  revision: 4,
  section: "ingress",
  index: 0,
};

export const TIEFIGHTER_IP = "10.0.2.7";
export const DEATHSTAR_IP = "10.0.4.9";
const WORLD_IP = "198.51.100.7";

/** Names of the node that runs the death star. */
export function demoNames(changes: Partial<Names> = {}): Names {
  const byIp = new Map([
    [TIEFIGHTER_IP, TIEFIGHTER],
    [DEATHSTAR_IP, DEATHSTAR],
  ]);
  return {
    ...noNames,
    nodeName: "kind-worker",
    nodeLabels: ["kubernetes.io/arch=amd64"],
    endpointByIp: (ip) => byIp.get(ip),
    endpointById: (id) => (id === DEATHSTAR.id ? DEATHSTAR : undefined),
    identityByIp: (ip) => (ip === WORLD_IP ? 2 : undefined),
    serviceByAddress: (ip) => (ip === "10.96.0.20" ? { name: "deathstar", namespace: "default" } : undefined),
    dnsNames: (id, ip) => (id === DEATHSTAR.id && ip === WORLD_IP ? ["api.github.com"] : []),
    interfaceName: (index) => (index === 12 ? "lxc12ab" : undefined),
    policiesOf: (cookie) => (cookie === 7 ? [RULE1] : []),
    explainDenial: () => ({
      policies: [RULE1],
      lines: ["no rule allows identity 4208 (tiefighter) on TCP 80"],
      nearest: [{ rule: RULE1, reasons: ["wants org=rebels"] }],
      fix: "add tiefighter's labels to rule1",
    }),
    ...changes,
  };
}

/** 14 June 2026, 13:25:42.102 UTC. */
export const DEMO_TIME = 1781443542102000000n;

/** The first packet of a connection from the tie fighter, as the datapath reports it. */
export function packetEvent(changes: Partial<PacketEvent> = {}): PacketEvent {
  return {
    type: "trace",
    subtype: 0,
    time: DEMO_TIME,
    direction: "ingress",
    isReply: false,
    audit: false,
    l3Device: false,
    endpointId: DEATHSTAR.id,
    matchType: 0,
    extError: 0,
    sourceIdentity: TIEFIGHTER.identity,
    destinationIdentity: DEATHSTAR.identity,
    destinationEndpointId: DEATHSTAR.id,
    cookie: 0,
    ifindex: 12,
    hash: 0x5d1e,
    verdict: 0,
    line: 0,
    file: 0,
    ctReason: 0,
    originalLength: 74,
    packet: tcpPacket(),
    ...changes,
  };
}

/** A TCP segment between the two pods; SYN from the tie fighter unless said otherwise. */
export function tcpPacket(
  options: { readonly reply?: boolean; readonly flags?: number; readonly to?: string; readonly port?: number } = {},
): Uint8Array {
  const [source, destination] = options.reply ? [DEATHSTAR_IP, TIEFIGHTER_IP] : [TIEFIGHTER_IP, options.to ?? DEATHSTAR_IP];
  const client = options.port ?? 37954;
  const [sourcePort, destinationPort] = options.reply ? [80, client] : [client, 80];
  return buildPacket({
    ethernet: {},
    ip: { source: IpAddress(source), destination: IpAddress(destination) },
    tcp: { sourcePort, destinationPort, flags: options.flags ?? TcpFlag.syn },
  });
}
