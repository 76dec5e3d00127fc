import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { type Direction, directions } from "#types/direction.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { compileRules, impliedFilter } from "./compile.ts";
import { type Chain, chainOf, distill, type Row } from "./distill.ts";
import type { EntryReason, Filter, Redirect } from "./filter.ts";
import { type L7Policy, l7Policies } from "./l7-policy.ts";
import { MergeConflict } from "./merge.ts";
import { anyPeer } from "./peer.ts";
import type { Repository } from "./repository.ts";
import { type AuthType, type PolicyRef, policyKey, type Rule, type RuleRef } from "./rule.ts";
import type { CachedSelector, IdentityChange, NamedPort, SelectorCache } from "./selector-cache.ts";

/** The endpoint whose policy is resolved. */
export type Subject = { readonly identity: NumericIdentity; readonly labels: LabelSet; readonly namedPorts: readonly NamedPort[] };

/** One row of an endpoint's policy map. */
export type PolicyMapEntry = {
  readonly direction: Direction;
  /** The peer; 0 is any. */
  readonly identity: NumericIdentity;
  /** IP protocol; 0 is any. */
  readonly protocol: number;
  /** The first port of the block; for ICMP the type. */
  readonly port: number;
  /** How many leading bits of the port count: 0 is every port, 16 the one. */
  readonly portPrefix: number;
  readonly deny: boolean;
  /** 32 bits; the higher wins between the peer's row and the one for any peer. */
  readonly precedence: number;
  /** Allowed through a proxy. `key` names the proxy port to use: `http-ingress`, `dns-egress`, `crd:NAME`. */
  readonly proxy?: { readonly parser: Redirect["parser"]; readonly listener?: string; readonly priority: number; readonly key: string };
  readonly auth?: { readonly type: AuthType; readonly explicit: boolean };
  readonly origins: readonly RuleRef[];
  readonly logs: readonly string[];
  readonly reason: EntryReason;
};

/** The policy of one direction. */
export type DirectionPolicy = {
  /** Whether policy is enforced at all. */
  readonly enforced: boolean;
  /** Whether traffic that no rule mentions is refused. */
  readonly defaultDeny: boolean;
  /** The policies that put the endpoint in default deny. */
  readonly defaultDenyBy: readonly PolicyRef[];
  readonly filters: readonly Filter[];
};

/** The resolved policy of an endpoint; shared by all endpoints of equal `subjectKey`. Live: `applyIdentityChanges` keeps it up to date. */
export interface EndpointPolicy {
  readonly revision: number;
  readonly subject: Subject;
  /** Rules that can not be merged; then there are no entries, and the last good policy must stay in force. */
  readonly error?: string;
  readonly ingress: DirectionPolicy;
  readonly egress: DirectionPolicy;
  /** The policies that select the endpoint. */
  readonly selectedBy: readonly PolicyRef[];
  entries(): PolicyMapEntry[];
  entriesFor(identity: NumericIdentity): PolicyMapEntry[];
  l7(direction: Direction): L7Policy[];
  /** Lets the selectors go; the policy must not be used afterwards. */
  release(): void;
  /** For `applyIdentityChanges`. */
  readonly state: Readonly<Record<Direction, DirectionState>>;
}

/** The identities' rows of one direction. */
type DirectionState = {
  readonly direction: Direction;
  readonly outer: Chain;
  readonly outerRows: readonly Row[];
  readonly selectors: readonly { readonly cached: CachedSelector; readonly filters: readonly Filter[] }[];
  readonly defaultDeny: boolean;
  /** True when a filter of a peer has a named port, which on egress differs between identities. */
  readonly namedPorts: boolean;
  readonly rows: Map<NumericIdentity, readonly Row[]>;
  readonly memo: Map<string, readonly Row[]>;
};

/** Endpoints with equal keys have equal policies (at one revision): the policy, and its map, can be shared. */
export function subjectKey({ identity, namedPorts }: Subject): string {
  const ports = namedPorts.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).sort();
  return `${identity}|${ports.join(",")}`;
}

function distinctPolicies(rules: readonly Rule[]): PolicyRef[] {
  // Most rules share their policy's reference, so few keys have to be made.
  const found = new Map(Array.from(new Set(rules.map((rule) => rule.policy)), (policy) => [policyKey(policy), policy]));
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, policy]) => policy);
}

type Decided = { readonly enforced: boolean; readonly defaultDeny: boolean; readonly rules: readonly Rule[] };

/** Whether policy is enforced in a direction, and whether what no rule mentions is refused. */
function decide(repo: Repository, subject: Subject, all: readonly Rule[], direction: Direction): Decided {
  const rules = all.filter((rule) => rule.direction === direction);
  const { enforcement } = repo.settings;
  if (enforcement === "never") return { enforced: false, defaultDeny: false, rules: [] };
  const denies = rules.some((rule) => rule.defaultDeny);
  const isHost = subject.identity === reservedIdentity.host;
  const always = (enforcement === "always" && !isHost) || subject.identity === reservedIdentity.init;
  return { enforced: rules.length > 0 || always, defaultDeny: denies || always, rules };
}

function compileDirection(repo: Repository, subject: Subject, direction: Direction, decided: Decided): readonly Filter[] {
  if (!decided.enforced) return [impliedFilter(anyPeer, 0, "allow-any")];
  const namespace = subject.labels.get("k8s", labelKey.namespace)?.value ?? "";
  const isHost = subject.identity === reservedIdentity.host;
  return compileRules(repo, decided.rules, { direction, enforced: true, defaultDeny: decided.defaultDeny, namespace, isHost }).filters;
}

function stateOf(
  direction: Direction,
  filters: readonly Filter[],
  decided: Decided,
  cache: SelectorCache,
  subject: Subject,
): DirectionState {
  // On ingress named ports are the subject's own; towards any peer on egress there are none to look up.
  const outerPorts = direction === "ingress" ? subject.namedPorts : [];
  const outer = chainOf(
    filters.filter((one) => one.peer.any),
    outerPorts,
  );
  const bySelector = new Map<string, Filter[]>();
  for (const one of filters) {
    if (one.peer.any) {
      // An any-peer filter of a named port concerns each identity that has the port.
      if (direction === "egress" && one.spec.name !== "") push(bySelector, one);
    } else push(bySelector, one);
  }
  const selectors = [...bySelector.values()].map((list) => ({ cached: cache.acquire((list[0] as Filter).peer), filters: list }));
  const state: DirectionState = {
    direction,
    outer,
    outerRows: distill(outer, outer, decided.defaultDeny),
    selectors,
    defaultDeny: decided.defaultDeny,
    namedPorts: direction === "egress" && filters.some((one) => one.spec.name !== ""),
    rows: new Map(),
    memo: new Map(),
  };
  fillRows(state, cache, subject);
  return state;
}

function push(map: Map<string, Filter[]>, filter: Filter): void {
  const list = map.get(filter.peer.text);
  if (list === undefined) map.set(filter.peer.text, [filter]);
  else list.push(filter);
}

/** Which selectors take an identity, by their positions. */
function signatures(state: DirectionState, cache: SelectorCache): Map<NumericIdentity, number[]> {
  const found = new Map<NumericIdentity, number[]>();
  for (const [i, { cached }] of state.selectors.entries()) {
    for (const id of cached.peer.any ? cache.identities() : cached.identities) {
      const list = found.get(id);
      if (list === undefined) found.set(id, [i]);
      else list.push(i);
    }
  }
  return found;
}

function fillRows(state: DirectionState, cache: SelectorCache, subject: Subject): void {
  for (const [id, signature] of signatures(state, cache)) {
    const rows = rowsFor(state, cache, subject, id, signature);
    if (rows.length > 0) state.rows.set(id, rows);
  }
}

const noRows: readonly Row[] = [];

/** The rows of one identity: those of all identities in the same selectors (with the same named ports, where they matter) are one list. */
function rowsFor(
  state: DirectionState,
  cache: SelectorCache,
  subject: Subject,
  id: NumericIdentity,
  signature: readonly number[],
): readonly Row[] {
  if (signature.length === 0) return noRows;
  const namedPorts = state.direction === "ingress" ? subject.namedPorts : (cache.entry(id)?.namedPorts ?? []);
  const ports = state.namedPorts ? namedPorts.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).join() : "";
  const key = `${signature.join()}|${ports}`;
  const known = state.memo.get(key);
  if (known !== undefined) return known;
  const filters = signature.flatMap((i) => state.selectors[i]?.filters ?? []);
  const rows = distill(chainOf(filters, namedPorts), state.outer, state.defaultDeny);
  state.memo.set(key, rows);
  return rows;
}

function entryOf(direction: Direction, identity: NumericIdentity, row: Row): PolicyMapEntry {
  const { redirect, auth, ...rest } = row;
  return {
    direction,
    identity,
    ...rest,
    ...(redirect === undefined ? {} : { proxy: proxyOf(redirect, direction) }),
    ...(auth === undefined ? {} : { auth }),
  };
}

function proxyOf({ parser, listener, priority }: Redirect, direction: Direction): NonNullable<PolicyMapEntry["proxy"]> {
  if (listener !== undefined) return { parser, listener, priority, key: `crd:${listener}` };
  // Server names and TLS are judged by the same proxy as HTTP.
  return { parser, priority, key: `${parser === "tls" ? "http" : parser}-${direction}` };
}

/**
 * Resolves the policy of an endpoint. The result holds selectors of the cache: call `release` when it is replaced. Rules that can not be merged
 * give a policy with `error` and no entries.
 */
export function resolveEndpoint(repo: Repository, cache: SelectorCache, subject: Subject): EndpointPolicy {
  const rules = repo.select(subject.labels, subject.identity);
  const decided = { ingress: decide(repo, subject, rules, "ingress"), egress: decide(repo, subject, rules, "egress") };
  let compiled: Record<Direction, readonly Filter[]>;
  let error: string | undefined;
  try {
    compiled = {
      ingress: compileDirection(repo, subject, "ingress", decided.ingress),
      egress: compileDirection(repo, subject, "egress", decided.egress),
    };
  } catch (conflict) {
    if (!(conflict instanceof MergeConflict)) throw conflict;
    error = conflict.message;
    compiled = { ingress: [], egress: [] };
  }
  const state = {
    ingress: stateOf("ingress", compiled.ingress, decided.ingress, cache, subject),
    egress: stateOf("egress", compiled.egress, decided.egress, cache, subject),
  };
  const describe = (direction: Direction): DirectionPolicy => ({
    enforced: decided[direction].enforced,
    defaultDeny: decided[direction].defaultDeny,
    defaultDenyBy: distinctPolicies(decided[direction].rules.filter((rule) => rule.defaultDeny)),
    filters: compiled[direction],
  });
  return {
    revision: repo.revision,
    subject,
    ...(error === undefined ? {} : { error }),
    ingress: describe("ingress"),
    egress: describe("egress"),
    selectedBy: distinctPolicies(rules),
    state,
    entries: () => directions.flatMap((direction) => allEntries(state[direction])),
    entriesFor: (identity) =>
      directions.flatMap((direction) => {
        const one = state[direction];
        const rows = identity === reservedIdentity.unknown ? one.outerRows : (one.rows.get(identity) ?? []);
        return rows.map((row) => entryOf(direction, identity, row));
      }),
    l7: (direction) => l7Policies(compiled[direction], cache, { direction, subject, l7Merge: repo.settings.l7Merge }),
    release() {
      for (const direction of directions) for (const { cached } of state[direction].selectors) cache.release(cached.peer);
    },
  };
}

function allEntries(state: DirectionState): PolicyMapEntry[] {
  const entries = state.outerRows.map((row) => entryOf(state.direction, reservedIdentity.unknown, row));
  for (const [id, rows] of state.rows) for (const row of rows) entries.push(entryOf(state.direction, id, row));
  return entries;
}

/** What `applyIdentityChanges` did to a policy map. */
export type MapDelta = { readonly added: PolicyMapEntry[]; readonly removed: PolicyMapEntry[] };

/** Brings a policy up to date with changes of the cache, in place, and gives the rows to write and to delete. */
export function applyIdentityChanges(policy: EndpointPolicy, cache: SelectorCache, changes: readonly IdentityChange[]): MapDelta {
  const delta: MapDelta = { added: [], removed: [] };
  const ids = changes.length === 1 ? changes.map((one) => one.id) : new Set(changes.map((one) => one.id));
  for (const direction of directions) for (const id of ids) applyToDirection(policy, cache, policy.state[direction], id, delta);
  return delta;
}

/** Which selectors of a direction take an identity now. */
function signatureOf(state: DirectionState, id: NumericIdentity): number[] {
  const signature: number[] = [];
  for (let i = 0; i < state.selectors.length; i++) {
    const cached = state.selectors[i]?.cached;
    if (cached !== undefined && (cached.peer.any || cached.identities.has(id))) signature.push(i);
  }
  return signature;
}

function applyToDirection(policy: EndpointPolicy, cache: SelectorCache, state: DirectionState, id: NumericIdentity, delta: MapDelta): void {
  const before = state.rows.get(id) ?? noRows;
  const after = rowsFor(state, cache, policy.subject, id, cache.entry(id) === undefined ? [] : signatureOf(state, id));
  if (after === before) return;
  if (after.length > 0) state.rows.set(id, after);
  else state.rows.delete(id);
  for (const row of before) if (!after.includes(row)) delta.removed.push(entryOf(state.direction, id, row));
  for (const row of after) if (!before.includes(row)) delta.added.push(entryOf(state.direction, id, row));
}
