import { protocolNumber } from "#types/proto.ts";
import type { Direction } from "#types/direction.ts";
import { type EntryReason, type Filter, hasL7, parserPriority, type Redirect } from "./filter.ts";
import { listenerRedirect, MergeConflict, mergeFilters, withL7Wildcard } from "./merge.ts";
import { anyPeer, entityPeers } from "./peer.ts";
import type { Repository } from "./repository.ts";
import { type ListenerRef, type PeerSelector, type PortRule, type PortSpec, type Rule, tier } from "./rule.ts";

/** The tier after all that users write: the host's own access and the default. */
const defaultTier = tier.baseline + 1;

/** Every protocol and port. */
export const everyPort: PortSpec = { protocol: 0, name: "", port: 0, endPort: 0 };

/** What the rules of one direction say, before identities come in. */
export type Compiled = { readonly filters: readonly Filter[]; readonly levels: number };

const noL7 = { http: [], dns: [], kafka: [], serverNames: [] } as const;

/** A listener of a CiliumEnvoyConfig is one of the endpoint's own namespace. */
function listenerName(ref: ListenerRef, namespace: string): string {
  const clusterwide = ref.configKind === "CiliumClusterwideEnvoyConfig" || (ref.configKind === "" && namespace === "");
  if (!clusterwide && namespace === "") throw new MergeConflict(`Listener "${ref.name}" in CCNP can not use Kind CiliumEnvoyConfig`);
  return `${clusterwide ? "" : namespace}/${ref.configName}/${ref.name}`;
}

function redirectOf(ports: PortRule, protocol: number, namespace: string): Redirect | undefined {
  if (ports.listener !== undefined) return listenerRedirect(listenerName(ports.listener, namespace), ports.listener.priority);
  if (ports.l7 !== undefined && ports.l7.dns.length > 0) return { parser: "dns", priority: parserPriority.dns };
  if (protocol === protocolNumber.TCP && ports.l7 !== undefined) {
    if (ports.l7.http.length > 0) return { parser: "http", priority: parserPriority.http };
    if (ports.l7.kafka.length > 0) return { parser: "kafka", priority: parserPriority.kafka };
  }
  const tls = ports.terminatingTls !== undefined || ports.originatingTls !== undefined || ports.serverNames.length > 0;
  return tls ? { parser: "tls", priority: parserPriority.tls } : undefined;
}

function filterOf(rule: Rule, level: number, peer: PeerSelector, spec: PortSpec, ports?: PortRule, namespace = ""): Filter {
  const base = { spec, peer, action: rule.action, tier: rule.tier, level, origins: [rule.origin], reason: "policy" as const };
  const logs = rule.log === undefined ? [] : [rule.log];
  if (ports === undefined || rule.action !== "allow") return { ...base, ...noL7, auth: rule.auth, logs };
  const redirect = redirectOf(ports, spec.protocol, namespace);
  const l7 = redirect === undefined ? undefined : ports.l7;
  return {
    ...base,
    redirect,
    http: l7?.http ?? [],
    dns: l7?.dns ?? [],
    kafka: l7?.kafka ?? [],
    serverNames: ports.serverNames,
    terminatingTls: ports.terminatingTls,
    originatingTls: ports.originatingTls,
    auth: rule.auth,
    logs,
  };
}

function specKey({ protocol, name, port, endPort }: PortSpec): string {
  return `${protocol}/${name}/${port}/${endPort}`;
}

/** The numbers of the levels: each (tier, priority, order) in use, the strongest first. */
function levelsOf(rules: readonly Rule[]): (rule: Rule) => number {
  const key = (rule: Rule) => (rule.tier * 0x10000 + rule.priority) * 0x10000 + rule.order;
  const sorted = [...new Set(rules.map(key))].sort((a, b) => a - b);
  const index = new Map(sorted.map((value, i) => [value, i]));
  return (rule) => index.get(key(rule)) ?? 0;
}

/** An entry that no rule wrote. */
export function impliedFilter(peer: PeerSelector, level: number, reason: EntryReason): Filter {
  return { spec: everyPort, peer, action: "allow", tier: defaultTier, level, ...noL7, origins: [], logs: [], reason };
}

/** Collects filters, merging those of equal peers, port and level. */
class FilterSet {
  readonly #filters = new Map<string, Filter>();

  add(filter: Filter): void {
    const key = `${filter.level}|${specKey(filter.spec)}|${filter.peer.text}`;
    const present = this.#filters.get(key);
    this.#filters.set(key, present === undefined ? filter : mergeFilters(present, filter));
  }

  values(): Filter[] {
    return [...this.#filters.values()];
  }
}

function byOrigin(a: Rule, b: Rule): number {
  const left = `${a.policy.kind}/${a.policy.namespace}/${a.policy.name}/${a.origin.spec}/${a.origin.section}`;
  const right = `${b.policy.kind}/${b.policy.namespace}/${b.policy.name}/${b.origin.spec}/${b.origin.section}`;
  return left < right ? -1 : left > right ? 1 : a.origin.index - b.origin.index;
}

/** What is compiled for: a direction of an endpoint. */
export type Enforcement = {
  readonly direction: Direction;
  readonly enforced: boolean;
  readonly defaultDeny: boolean;
  /** The endpoint's namespace; empty for the node's own endpoints. */
  readonly namespace: string;
  readonly isHost: boolean;
};

/** Turns the rules of one direction into filters. Throws MergeConflict when rules can not stand together. */
export function compileRules(repo: Repository, rules: readonly Rule[], { direction, enforced, defaultDeny, namespace, isHost }: Enforcement): Compiled {
  // Sorted, so that the order in which policies arrived can not matter.
  const sorted = enforced ? [...rules].sort(byOrigin) : [];
  const levelOf = levelsOf(sorted);
  const set = new FilterSet();
  for (const rule of sorted) {
    for (const peer of repo.peersOf(rule)) {
      if (peer.none) continue;
      if (rule.ports === null) set.add(filterOf(rule, levelOf(rule), peer, everyPort));
      else for (const ports of rule.ports) for (const spec of ports.ports) set.add(filterOf(rule, levelOf(rule), peer, spec, ports, namespace));
    }
  }
  const levels = new Set(sorted.map(levelOf)).size;
  const filters = set.values().map((one) => (hasL7(one) && !defaultDeny ? withL7Wildcard(one) : one));
  const hostAllowed = direction === "ingress" && !isHost && enforced && sorted.length > 0 && repo.settings.allowLocalhost === "always";
  if (hostAllowed) for (const host of entityPeers("host", repo.settings)) filters.push(impliedFilter(host, levels, "allow-localhost"));
  if (!defaultDeny) filters.push(impliedFilter(anyPeer, levels, "allow-any"));
  return { filters, levels };
}
