import type { LabelSet } from "#labels/label-set.ts";
import { unmet } from "#labels/selector.ts";
import { type Prefix, prefixContains } from "#types/prefix.ts";
import { formatProtocol, hasPorts, protocolNumber } from "#types/proto.ts";
import type { Flow } from "../resolve/verdict.ts";
import type { PeerSelector, PortRule, PortSpec, Rule } from "../rule.ts";
import { type NamedPort, selects } from "../selectors/selector-cache.ts";

/** The other side of a flow, as far as it is known. */
export type Peer = { readonly labels: LabelSet; readonly prefix: Prefix | undefined; readonly namedPorts: readonly NamedPort[] };

/** Why a rule does not cover a flow: one text for each part that does not fit; none when it covers it. */
export type Miss = { readonly rule: Rule; readonly peer: readonly string[]; readonly port: readonly string[] };

/**
 * Whether a rule fits a flow in one of the two, peer and port, and not in the other: what fits in neither is not near. Costs no texts, as most rules
 * are far away.
 */
export function isNear(rule: Rule, peers: readonly PeerSelector[], flow: Flow, peer: Peer, namedPorts: readonly NamedPort[]): boolean {
  return peers.some((one) => selects(one, peer.labels, peer.prefix)) !== coversAnyPort(rule.ports, flow, namedPorts);
}

/** Compares a rule with a flow. `namedPorts` are those of whoever receives. */
export function missOf(rule: Rule, peers: readonly PeerSelector[], flow: Flow, peer: Peer, namedPorts: readonly NamedPort[]): Miss {
  return { rule, peer: peerReasons(peers, peer), port: portReasons(rule.ports, flow, namedPorts) };
}

function peerReasons(peers: readonly PeerSelector[], { labels, prefix }: Peer): string[] {
  if (peers.some((one) => selects(one, labels, prefix))) return [];
  const wanted = peers.filter((one) => !one.none);
  if (wanted.length === 0) return ["it names no peers, so it matches nobody"];
  const each = wanted.map((one) => reasonsOf(one, labels, prefix));
  // The selector that is nearest to matching tells the most.
  const [nearest = []] = each.toSorted((a, b) => a.length - b.length);
  return nearest;
}

function reasonsOf(peer: PeerSelector, labels: LabelSet, prefix: Prefix | undefined): string[] {
  if (peer.fqdn) return [`the address is not one of ${peer.fqdn.matchName ?? peer.fqdn.matchPattern}`];
  if (peer.within !== undefined) {
    if (prefix === undefined) return [noBlock(peer.within, labels)];
    if (!prefixContains(peer.within, prefix)) return [`needs an address in ${peer.within}, has ${prefix}`];
  }
  const excepted = prefix === undefined ? undefined : peer.except.find((one) => prefixContains(one, prefix));
  if (excepted !== undefined) return [`the address is in the exception ${excepted}`];
  const outside = labels.texts.find((text) => text.startsWith("reserved:"));
  const wantsPod = peer.requirements.some(
    ({ source, operator }) => source !== "reserved" && operator !== "DoesNotExist" && operator !== "NotIn",
  );
  if (outside !== undefined && wantsPod) return [`needs a pod, is ${outside}`];
  const reasons = unmet(peer, labels);
  return reasons.length > 0 ? reasons : ["the peer is outside what the rule selects"];
}

function noBlock(within: Prefix, labels: LabelSet): string {
  const outside = labels.texts.some((text) => text.startsWith("reserved:world"));
  return `needs an address in ${within}; ${outside ? "this one is in no block that a rule names" : "CIDR rules never match pods or nodes"}`;
}

function portReasons(ports: readonly PortRule[] | null, flow: Flow, namedPorts: readonly NamedPort[]): string[] {
  if (ports === null || coversAnyPort(ports, flow, namedPorts)) return [];
  const specs = ports.flatMap((one) => one.ports);
  if (specs.length === 0) return ["it names no ports, so it matches no traffic"];
  return [`needs ${[...new Set(specs.map(formatSpec))].join(" or ")}, is ${formatFlowPort(flow)}`];
}

function coversAnyPort(ports: Rule["ports"], flow: Flow, namedPorts: readonly NamedPort[]): boolean {
  return ports === null || ports.some((one) => one.ports.some((spec) => coversPort(spec, flow, namedPorts)));
}

function coversPort(spec: PortSpec, { protocol, port }: Flow, namedPorts: readonly NamedPort[]): boolean {
  if (spec.protocol !== 0 && spec.protocol !== protocol) return false;
  if (spec.name !== "") return namedPorts.some((one) => one.name === spec.name && one.protocol === protocol && one.port === port);
  if (spec.port === 0 && spec.endPort === 0) return true;
  return port >= spec.port && port <= Math.max(spec.port, spec.endPort);
}

function isIcmp(protocol: number): boolean {
  return protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;
}

function formatSpec({ protocol, name, port, endPort }: PortSpec): string {
  const text = protocol === 0 ? "any protocol" : formatProtocol(protocol);
  if (isIcmp(protocol)) return `${text} type ${port}`;
  const number = name || (endPort > port ? `${port}-${endPort}` : port === 0 ? "any port" : String(port));
  return `${number}/${text}`;
}

/** `81/TCP`, `ICMP type 8`. */
export function formatFlowPort({ protocol, port }: Flow): string {
  const text = formatProtocol(protocol);
  if (isIcmp(protocol)) return `${text} type ${port}`;
  return hasPorts(protocol) ? `${port}/${text}` : text;
}
