import type { CookieOrigin } from "#datapath/cookies.ts";
import { UsageOutcome } from "#datapath/gen/enums.ts";
import type { Decided } from "#datapath/usage.ts";
import type { PolicyUsage } from "#k8s/types.ts";
import type { Repository } from "#policy/resolve/repository.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import { type ParsedPolicy, type PeerSelector, policyKey, type Rule, type RuleRef, ruleKey, sectionPath } from "#policy/rule.ts";
import { type SelectorCache, selects } from "#policy/selectors/selector-cache.ts";
import { type Direction, directions } from "#types/direction.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { type Overlaps, overlapsOf, shadowersOf } from "./usage-overlaps.ts";

/** What a rule has decided on this node, or a policy's default deny (section `default-deny`). */
export interface RuleUsage {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly section: RuleRef["section"] | "default-deny";
  readonly direction: Direction;
  /** Position in the section, from 0; -1 for default deny. */
  readonly index: number;
  readonly spec: number;
  /** In audit mode: nothing is denied. */
  readonly audit: boolean;
  /** When the policy was made, RFC 3339; empty when the object does not say. */
  readonly created: string;
  /** Endpoints of this node that it selects. */
  readonly endpoints: number;
  /** Rows of policy maps that it has a part in; a rule may have none because others cover it (`shadowed`), or because it has no peers. */
  readonly entries: number;
  readonly shadowed: boolean;
  /** Rules that decide in its stead at least a part of what it covers, and so count it. */
  readonly decidedBy: readonly RuleRef[];
  /** Rules each of which says the same of everything that it covers: it could go. */
  readonly redundantTo: readonly RuleRef[];
  /** It allows nobody by its own words (`ingress: [{}]`): it is there for the default deny. */
  readonly empty: boolean;
  /** Of connections that it allowed, in both directions, or that it denied. Rules that decide together each count the whole. */
  readonly packets: number;
  readonly bytes: number;
  /** Packets that passed because of audit mode, and that it would have denied. */
  readonly audited: number;
  /** Requests that its application rules allowed; denied, or would have denied without audit mode, are those that it came nearest to allowing. */
  readonly requests: { readonly allowed: number; readonly denied: number; readonly audited: number };
  /** RFC 3339; empty: never. */
  readonly lastHit: string;
}

export interface SummaryInput {
  readonly repository: Repository;
  /** One an endpoint: all policies that it has, the one beside for audited policies too. */
  readonly endpoints: readonly (readonly EndpointPolicy[])[];
  readonly origins: (cookie: number) => readonly CookieOrigin[];
  readonly decided: Iterable<Decided>;
  /** Monotonic nanoseconds → RFC 3339. */
  readonly toTime: (monotonic: bigint) => string;
}

export interface UsageInput extends SummaryInput {
  readonly cache: SelectorCache;
  readonly created: (policyKey: string) => string;
}

/** What each policy that selects an endpoint of this node, or did and decided something, has decided. Looks at no policy map: it is cheap. */
export function usageSummary({ repository, endpoints, origins, decided, toTime }: SummaryInput): Record<string, PolicyUsage> {
  const selected = new Map<string, number>();
  for (const [first] of endpoints) {
    const { subject } = first ?? {};
    const rules = subject === undefined ? [] : repository.select(subject.labels, subject.identity);
    increase(selected, new Set(rules.map(({ policy }) => policyKey(policy))));
  }
  const sums = new Map<string, Sum>();
  const hits = new Map<string, Map<string, bigint>>();
  for (const one of decided) {
    const deciding = origins(one.cookie);
    for (const key of new Set(deciding.map(policyKey))) {
      const sum = sums.get(key) ?? nothing();
      sums.set(key, sum);
      add(sum, one);
    }
    for (const origin of deciding) addHit(hits, origin, one);
  }
  const keys = [...new Set([...selected.keys(), ...sums.keys()])].filter((key) => repository.policies.has(key)).sort();
  return Object.fromEntries(
    keys.map((key) => {
      const { packets, audited: auditedPackets, auditedRequests, last } = sums.get(key) ?? nothing();
      const audited = auditedPackets + auditedRequests;
      const hit = last === 0n ? {} : { lastHit: `${toTime(last).slice(0, 19)}Z` };
      const all = [...(hits.get(key) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)).map(([rule, count]) => [rule, Number(count)]);
      const rules = all.length === 0 ? {} : { rules: Object.fromEntries(all) as Record<string, number> };
      const counts = { endpoints: selected.get(key) ?? 0, packets: Number(packets) };
      return [key, { ...counts, ...(audited > 0n ? { audited: Number(audited) } : {}), ...hit, ...rules }];
    }),
  );
}

/** What passes in audit mode is no packet that the rule denied. */
function addHit(hits: Map<string, Map<string, bigint>>, origin: CookieOrigin, { egress, outcome, packets }: Decided): void {
  if (outcome === UsageOutcome.AUDITED) return;
  const key = policyKey(origin);
  const rules = hits.get(key) ?? new Map<string, bigint>();
  hits.set(key, rules);
  const rule = "section" in origin ? sectionPath(origin) : `${egress ? "egress" : "ingress"} default deny`;
  rules.set(rule, (rules.get(rule) ?? 0n) + packets);
}

interface Sum {
  packets: bigint;
  bytes: bigint;
  audited: bigint;
  allowedRequests: bigint;
  deniedRequests: bigint;
  auditedRequests: bigint;
  last: bigint;
}

const nothing = (): Sum => ({
  ...{ packets: 0n, bytes: 0n, audited: 0n, last: 0n },
  ...{ allowedRequests: 0n, deniedRequests: 0n, auditedRequests: 0n },
});

/** One row for each rule of each policy, and for each direction that a policy puts somebody into default deny in. */
export function usageRows(input: UsageInput): RuleUsage[] {
  const sums = sumsByOrigin(input);
  const presence = presenceOf(input);
  return [...input.repository.policies.values()].flatMap((policy) => [
    ...ruleRows(input, policy, sums, presence),
    ...defaultRows(input, policy, sums, presence),
  ]);
}

function originKey(origin: CookieOrigin, egress: boolean): string {
  return "section" in origin ? ruleKey(origin) : defaultKey(policyKey(origin), egress ? "egress" : "ingress");
}

function defaultKey(policy: string, direction: Direction): string {
  return `${policy}#default-deny ${direction}`;
}

function sumsByOrigin({ decided, origins }: UsageInput): ReadonlyMap<string, Sum> {
  const sums = new Map<string, Sum>();
  for (const one of decided) {
    for (const origin of origins(one.cookie)) {
      const key = originKey(origin, one.egress);
      const sum = sums.get(key) ?? nothing();
      sums.set(key, sum);
      add(sum, one);
    }
  }
  return sums;
}

function add(sum: Sum, { layer, outcome, packets, bytes, last }: Decided): void {
  if (layer === 7) {
    if (outcome === UsageOutcome.DENIED) sum.deniedRequests += packets;
    else if (outcome === UsageOutcome.AUDITED) sum.auditedRequests += packets;
    else sum.allowedRequests += packets;
  } else if (outcome === UsageOutcome.AUDITED) {
    sum.audited += packets;
  } else {
    sum.packets += packets;
    sum.bytes += bytes;
  }
  if (last > sum.last) sum.last = last;
}

/** Where rules are: how many endpoints they select, and how many rows of maps they have a part in. */
interface Presence {
  readonly endpoints: ReadonlyMap<string, number>;
  readonly entries: ReadonlyMap<string, number>;
  readonly overlaps: Overlaps;
}

function presenceOf({ repository, endpoints }: UsageInput): Presence {
  const selected = new Map<string, number>();
  const entries = new Map<string, number>();
  for (const policies of endpoints) {
    const { subject } = policies[0] ?? {};
    const rules = subject === undefined ? [] : repository.select(subject.labels, subject.identity);
    increase(selected, new Set([...rules.map(({ origin }) => ruleKey(origin)), ...policies.flatMap(denialsOf)]));
  }
  // Endpoints that are alike share a policy.
  for (const policy of new Set(endpoints.flat()))
    increase(
      entries,
      policy.entries().flatMap(({ origins }) => origins.map(ruleKey)),
    );
  return { endpoints: selected, entries, overlaps: overlapsOf(new Set(endpoints.flatMap((policies) => policies.slice(0, 1)))) };
}

function increase(map: Map<string, number>, keys: Iterable<string>): void {
  for (const key of keys) map.set(key, (map.get(key) ?? 0) + 1);
}

function denialsOf(policy: EndpointPolicy): string[] {
  return directions.flatMap((direction) => policy[direction].defaultDenyBy.map((ref) => defaultKey(policyKey(ref), direction)));
}

function ruleRows(input: UsageInput, policy: ParsedPolicy, sums: ReadonlyMap<string, Sum>, presence: Presence): RuleUsage[] {
  const { repository } = input;
  return [...Map.groupBy(policy.rules, ({ origin }) => ruleKey(origin))].flatMap(([key, rules]) => {
    const [{ origin, direction } = { origin: undefined }] = rules;
    if (origin === undefined) return [];
    const entries = presence.entries.get(key) ?? 0;
    const endpoints = presence.endpoints.get(key) ?? 0;
    const { section, index, spec } = origin;
    const peers = rules.flatMap((rule) => repository.peersOf(rule));
    const shadowed = endpoints > 0 && entries === 0 && rules.every(hasPorts) && peers.some((peer) => selectsSomebody(input.cache, peer));
    const place = { section, index, spec, direction: direction ?? "ingress" };
    const empty = rules.every(isEmpty);
    const { deciders, coverers } = presence.overlaps;
    const met = { decidedBy: shadowed ? deciding(input, rules) : (deciders.get(key) ?? []), redundantTo: coverers.get(key) ?? [] };
    return [{ ...refOf(input, policy), ...place, endpoints, entries, shadowed, ...met, empty, ...counts(input, sums.get(key)) }];
  });
}

function isEmpty({ action, peers, services, ports }: Rule): boolean {
  return action === "allow" && ports === null && peers.length + services.length === 0;
}

/** A list of no ports matches nothing. */
function hasPorts({ ports }: Rule): boolean {
  return ports === null || ports.some((one) => one.ports.length > 0);
}

function selectsSomebody(cache: SelectorCache, peer: PeerSelector): boolean {
  if (peer.any) return true;
  return [...cache.identities()].some((id) => selectsIdentity(cache, peer, id));
}

function selectsIdentity(cache: SelectorCache, peer: PeerSelector, id: NumericIdentity): boolean {
  const labels = cache.labels(id);
  return labels !== undefined && selects(peer, labels, cache.prefix(id));
}

function defaultRows(input: UsageInput, policy: ParsedPolicy, sums: ReadonlyMap<string, Sum>, presence: Presence): RuleUsage[] {
  return directions.flatMap((direction) => {
    const key = defaultKey(policyKey(policy.ref), direction);
    const endpoints = presence.endpoints.get(key) ?? 0;
    if (endpoints === 0 && !sums.has(key)) return [];
    const place = { section: "default-deny" as const, index: -1, spec: 0, direction };
    return [{ ...refOf(input, policy), ...place, endpoints, entries: 0, ...alone, ...counts(input, sums.get(key)) }];
  });
}

const alone = { shadowed: false, decidedBy: [], redundantTo: [], empty: false };

/** The rules that decide where rules without any row would, each once. */
function deciding({ cache, endpoints, repository }: UsageInput, rules: readonly Rule[]): RuleRef[] {
  const found = rules.flatMap((rule) => {
    const peers = repository.peersOf(rule);
    const ids = [...cache.identities()].filter((id) => peers.some((peer) => selectsIdentity(cache, peer, id)));
    const policies = endpoints.flatMap(([policy]) => policy ?? []);
    const concerned = policies.filter(({ subject }) => repository.select(subject.labels, subject.identity).includes(rule));
    return concerned.flatMap((policy) => shadowersOf(policy, rule, ids));
  });
  return [...new Map(found.map((one) => [ruleKey(one), one])).values()];
}

function refOf({ created }: UsageInput, { ref, audit }: ParsedPolicy) {
  const { kind, namespace, name } = ref;
  return { kind, namespace, name, audit, created: created(policyKey(ref)) };
}

function counts({ toTime }: UsageInput, sum: Sum = nothing()) {
  const { packets, bytes, audited, allowedRequests, deniedRequests, auditedRequests, last } = sum;
  return {
    packets: Number(packets),
    bytes: Number(bytes),
    audited: Number(audited),
    requests: { allowed: Number(allowedRequests), denied: Number(deniedRequests), audited: Number(auditedRequests) },
    lastHit: last === 0n ? "" : toTime(last),
  };
}
