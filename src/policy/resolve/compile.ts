import type { Direction } from "#types/direction.ts";
import { protocolNumber } from "#types/proto.ts";
import { type L7Rules, type ListenerRef, levelOf, type PeerSelector, type PortRule, type PortSpec, type Rule, tier } from "../rule.ts";
import type { PolicySettings } from "../settings.ts";
import { type EntryReason, type Filter, hasL7, parserPriority, type Redirect } from "./filter.ts";
import { listenerRedirect, MergeConflict, mergeFilters, withL7Wildcard } from "./merge.ts";
import { anyPeer, entityPeers } from "./peer.ts";
import type { Repository } from "./repository.ts";

/** The tier after all that users write: the host's own access and the default. */
const defaultTier = tier.baseline + 1;

/** Every protocol and port. */
export const everyPort: PortSpec = { protocol: 0, name: "", port: 0, endPort: 0 };

/** What the rules of one direction say, before identities come in. */
export type Compiled = { readonly filters: readonly Filter[]; readonly levels: number };

const noLogs: readonly string[] = [];
const noL7 = { http: [], dns: [], kafka: [], serverNames: [], widened: false, restricts: false } as const;

/** A listener of a CiliumEnvoyConfig is one of the endpoint's own namespace. */
function listenerName(ref: ListenerRef, namespace: string): string {
  if (ref.configKind === "CiliumEnvoyConfig" && namespace === "")
    throw new MergeConflict(`Listener "${ref.name}" in CCNP can not use Kind CiliumEnvoyConfig`);
  return `${ref.configKind === "CiliumClusterwideEnvoyConfig" ? "" : namespace}/${ref.configName}/${ref.name}`;
}

function redirectOf(ports: PortRule, protocol: number, namespace: string, settings: PolicySettings): Redirect | undefined {
  if (ports.listener !== undefined) return listenerRedirect(listenerName(ports.listener, namespace), ports.listener.priority);
  if (ports.l7 !== undefined && ports.l7.dns.length > 0)
    return !settings.dnsProxy ? undefined : { parser: "dns", priority: parserPriority.dns };
  if (protocol === protocolNumber.TCP && ports.l7 !== undefined) {
    if (ports.l7.http.length > 0) return { parser: "http", priority: parserPriority.http };
    if (ports.l7.kafka.length > 0) return { parser: "kafka", priority: parserPriority.kafka };
  }
  const tls = ports.terminatingTls !== undefined || ports.originatingTls !== undefined || ports.serverNames.length > 0;
  return tls ? { parser: "tls", priority: parserPriority.tls } : undefined;
}

/** What a rule is turned into filters for. */
type FilterScope = { readonly namespace: string; readonly settings: PolicySettings };

function filterOf(rule: Rule, level: number, peer: PeerSelector, spec: PortSpec, ports: PortRule | undefined, scope: FilterScope): Filter {
  const base = { spec, peer, action: rule.action, tier: rule.tier, level, origins: [rule.origin], reason: "policy" as const };
  const logs = rule.log === undefined ? noLogs : [rule.log];
  if (ports === undefined || rule.action !== "allow") return { ...base, ...noL7, auth: rule.auth, emptyAuth: rule.emptyAuth, logs };
  const redirect = redirectOf(ports, spec.protocol, scope.namespace, scope.settings);
  const l7 = redirect === undefined ? undefined : ports.l7;
  return {
    ...base,
    redirect,
    http: l7?.http ?? [],
    dns: l7?.dns ?? [],
    kafka: l7?.kafka ?? [],
    widened: false,
    restricts: l7 !== undefined && rule.l7Merge === "restrict",
    serverNames: ports.serverNames,
    terminatingTls: ports.terminatingTls,
    originatingTls: ports.originatingTls,
    auth: rule.auth,
    emptyAuth: rule.emptyAuth,
    logs,
  };
}

function sameSpec(a: PortSpec, b: PortSpec): boolean {
  return a.protocol === b.protocol && a.port === b.port && a.endPort === b.endPort && a.name === b.name;
}

/** The numbers of the levels: each (tier, priority, order) in use, the strongest first. */
function levelsOf(rules: readonly Rule[]): (rule: Rule) => number {
  const values = new Set(rules.map(levelOf));
  if (values.size === 1) return () => 0;
  const sorted = [...values].sort((a, b) => a - b);
  const index = new Map(sorted.map((value, i) => [value, i]));
  return (rule) => index.get(levelOf(rule)) ?? 0;
}

/** An entry that no rule wrote. */
export function impliedFilter(peer: PeerSelector, level: number, reason: EntryReason): Filter {
  return { spec: everyPort, peer, action: "allow", tier: defaultTier, level, ...noL7, origins: [], logs: [], reason };
}

/** The filters of one peer, and where among them those of a protocol and port are: mostly one. */
type OfPeer = { readonly filters: Filter[]; readonly places: Map<number, number[]> };

/** Collects filters, merging those of equal peers, port and level. */
class FilterSet {
  /** By the peers' text, as it is: a key made of it would have to be hashed for every rule. */
  readonly #byPeer = new Map<string, OfPeer>();

  add(filter: Filter): void {
    const { peer, spec, level } = filter;
    let ofPeer = this.#byPeer.get(peer.text);
    if (ofPeer === undefined) {
      ofPeer = { filters: [], places: new Map() };
      this.#byPeer.set(peer.text, ofPeer);
    }
    const { filters, places } = ofPeer;
    const key = spec.protocol * 0x10000 + spec.port;
    const there = places.get(key);
    for (const place of there ?? []) {
      const present = filters[place] as Filter;
      if (present.level !== level || !sameSpec(present.spec, spec)) continue;
      filters[place] = mergeFilters(present, filter);
      return;
    }
    if (there === undefined) places.set(key, [filters.length]);
    else there.push(filters.length);
    filters.push(filter);
  }

  values(): Filter[] {
    return Array.from(this.#byPeer.values(), ({ filters }) => filters).flat();
  }
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

/** Adds what one rule says: a filter for each of its peers and ports. */
function addRule(set: FilterSet, repo: Repository, rule: Rule, level: number, scope: FilterScope): void {
  const portRules = repo.portsOf(rule);
  for (const peer of repo.peersOf(rule)) {
    if (peer.none) continue;
    if (portRules === null) set.add(filterOf(rule, level, peer, everyPort, undefined, scope));
    else for (const ports of portRules) for (const spec of ports.ports) set.add(filterOf(rule, level, peer, spec, ports, scope));
  }
}

const anyName: L7Rules = { http: [], dns: [{ matchPattern: "*" }], kafka: [] };
const dnsPort = 53;
const dnsSpecs: readonly PortSpec[] = [protocolNumber.UDP, protocolNumber.TCP].map((protocol) => ({
  ...{ protocol, name: "", port: dnsPort, endPort: 0 },
}));
const learnedPorts: PortRule = { ports: dnsSpecs, l7: anyName, serverNames: [] };

/** Whether names are learned for these rules although none of them asks for it (SEMANTICS C9). */
function learnsNames(rules: readonly Rule[], { dnsProxy, learnNames, l7Merge }: PolicySettings): boolean {
  if (!dnsProxy || !learnNames || !rules.some((rule) => rule.peers.some((peer) => peer.fqdn !== undefined))) return false;
  // What is let through to be learned must not widen a rule that restricts.
  return l7Merge === "union" || !rules.some((rule) => rule.ports?.some(({ l7 }) => (l7?.dns.length ?? 0) > 0));
}

/** Whether a rule lets DNS pass without a look at it. */
function covers(ports: readonly PortRule[] | null, wanted: PortSpec): boolean {
  if (ports === null) return true;
  const plain = ports.filter(({ l7, listener }) => listener === undefined && (l7?.dns.length ?? 0) === 0);
  return plain.some((one) =>
    one.ports.some(({ protocol, name, port, endPort }) => {
      if (name !== "" || (protocol !== 0 && protocol !== wanted.protocol)) return false;
      return port === 0 || (port <= wanted.port && wanted.port <= Math.max(port, endPort));
    }),
  );
}

/** The same DNS once more, through the proxy, which lets every name pass. */
function addLearning(set: FilterSet, repo: Repository, rule: Rule, level: number, scope: FilterScope): void {
  if (rule.action !== "allow") return;
  const ports = repo.portsOf(rule);
  for (const peer of repo.peersOf(rule)) {
    if (peer.none || peer.fqdn !== undefined || (peer.any && ports === null)) continue;
    for (const spec of dnsSpecs) if (covers(ports, spec)) set.add(filterOf(rule, level, peer, spec, learnedPorts, scope));
  }
}

/** What no rule writes: the host's own access, and everything where nothing denies by default. */
function impliedFilters(
  { direction, enforced, defaultDeny, isHost }: Enforcement,
  settings: PolicySettings,
  rules: number,
  level: number,
): Filter[] {
  const hostAllowed = direction === "ingress" && !isHost && enforced && rules > 0 && settings.allowLocalhost === "always";
  const host = hostAllowed ? entityPeers("host", settings).map((one) => impliedFilter(one, level, "allow-localhost")) : [];
  return defaultDeny ? host : [...host, impliedFilter(anyPeer, level, "allow-any")];
}

/** Turns the rules of one direction, as the repository orders them, into filters. Throws MergeConflict when rules can not stand together. */
export function compileRules(repo: Repository, given: readonly Rule[], enforcement: Enforcement): Compiled {
  const rules = enforcement.enforced ? given : [];
  const numberOf = levelsOf(rules);
  const set = new FilterSet();
  const scope = { namespace: enforcement.namespace, settings: repo.settings };
  for (const rule of rules) addRule(set, repo, rule, numberOf(rule), scope);
  if (enforcement.direction === "egress" && learnsNames(rules, repo.settings)) {
    for (const rule of rules) addLearning(set, repo, rule, numberOf(rule), scope);
  }
  const levels = new Set(rules.map(numberOf)).size;
  // After all merging, so that the order in which plain rules came in can not matter.
  const isOpen = (one: Filter) => !enforcement.defaultDeny || (one.widened && !one.restricts);
  const filters = set.values().map((one) => (hasL7(one) && isOpen(one) ? withL7Wildcard(one) : one));
  return { filters: [...filters, ...impliedFilters(enforcement, repo.settings, rules.length, levels)], levels };
}
