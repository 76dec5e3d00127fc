import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { type Direction, directions } from "#types/direction.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import type { AuthType, PolicyRef, Rule, RuleRef } from "../rule.ts";
import type { IdentityChange, NamedPort, SelectorCache } from "../selectors/selector-cache.ts";
import { compileRules, impliedFilter } from "./compile.ts";
import { allEntries, applyToDirection, createDirectionState, type DirectionState, entryOf } from "./direction-state.ts";
import type { EntryReason, Filter, Redirect } from "./filter.ts";
import { type L7Policy, l7Policies } from "./l7-policy.ts";
import { MergeConflict } from "./merge.ts";
import { anyPeer } from "./peer.ts";
import type { Repository } from "./repository.ts";

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

/** Endpoints with equal keys have equal policies (at one revision): the policy, and its map, can be shared. */
export function subjectKey({ identity, namedPorts }: Subject): string {
  const ports = namedPorts.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).sort();
  return `${identity}|${ports.join(",")}`;
}

/** The policies of rules that come policy by policy, each once. */
function distinctPolicies(rules: readonly Rule[]): PolicyRef[] {
  return rules.filter((rule, i) => rule.policy !== rules[i - 1]?.policy).map((rule) => rule.policy);
}

type Decided = { readonly enforced: boolean; readonly defaultDeny: boolean; readonly rules: readonly Rule[] };

/** Whether policy is enforced in a direction, and whether what no rule mentions is refused. */
function decide(repo: Repository, subject: Subject, all: readonly Rule[], direction: Direction): Decided {
  const rules = all.filter((rule) => rule.direction === direction);
  const { enforcement } = repo.settings;
  if (enforcement === "never") return { enforced: false, defaultDeny: false, rules: [] };
  const denies = rules.some((rule) => rule.defaultDeny);
  // Without the host firewall nothing is enforced on the host, whatever the mode.
  const open = subject.identity === reservedIdentity.host && !repo.settings.hostFirewall;
  const always = (enforcement === "always" && !open) || subject.identity === reservedIdentity.init;
  return { enforced: rules.length > 0 || always, defaultDeny: denies || always, rules };
}

function compileDirection(repo: Repository, subject: Subject, direction: Direction, decided: Decided): readonly Filter[] {
  if (!decided.enforced) return [impliedFilter(anyPeer, 0, "allow-any")];
  const namespace = subject.labels.get("k8s", labelKey.namespace)?.value ?? "";
  const isHost = subject.identity === reservedIdentity.host;
  return compileRules(repo, decided.rules, { direction, enforced: true, defaultDeny: decided.defaultDeny, namespace, isHost }).filters;
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
  const describe = (direction: Direction): DirectionPolicy => ({
    enforced: decided[direction].enforced,
    defaultDeny: decided[direction].defaultDeny,
    defaultDenyBy: distinctPolicies(decided[direction].rules.filter((rule) => rule.defaultDeny)),
    filters: compiled[direction],
  });
  return new ResolvedPolicy(repo, cache, subject, {
    error,
    selectedBy: distinctPolicies(rules),
    ingress: describe("ingress"),
    egress: describe("egress"),
  });
}

type Resolved = Pick<EndpointPolicy, "ingress" | "egress" | "selectedBy"> & {
  readonly error: string | undefined;
};

/** A policy with the selectors that it uses. */
class ResolvedPolicy implements EndpointPolicy {
  readonly revision: number;
  readonly subject: Subject;
  readonly error?: string;
  readonly ingress: DirectionPolicy;
  readonly egress: DirectionPolicy;
  readonly selectedBy: readonly PolicyRef[];
  readonly state: Readonly<Record<Direction, DirectionState>>;
  readonly #cache: SelectorCache;

  constructor(repo: Repository, cache: SelectorCache, subject: Subject, { error, ingress, egress, selectedBy }: Resolved) {
    this.revision = repo.revision;
    this.subject = subject;
    if (error !== undefined) this.error = error;
    this.ingress = ingress;
    this.egress = egress;
    this.selectedBy = selectedBy;
    this.#cache = cache;
    this.state = {
      ingress: createDirectionState({ direction: "ingress", filters: ingress.filters, defaultDeny: ingress.defaultDeny }, cache, this),
      egress: createDirectionState({ direction: "egress", filters: egress.filters, defaultDeny: egress.defaultDeny }, cache, this),
    };
  }

  entries(): PolicyMapEntry[] {
    return directions.flatMap((direction) => allEntries(this.state[direction]));
  }

  entriesFor(identity: NumericIdentity): PolicyMapEntry[] {
    return directions.flatMap((direction) => {
      const one = this.state[direction];
      const rows = identity === reservedIdentity.unknown ? one.outerRows : (one.rows.get(identity) ?? []);
      return rows.map((row) => entryOf(direction, identity, row));
    });
  }

  l7(direction: Direction): L7Policy[] {
    return l7Policies(this[direction].filters, this.#cache, { direction, subject: this.subject });
  }

  release(): void {
    for (const direction of directions) for (const { cached } of this.state[direction].selectors) this.#cache.release(cached.peer, this);
  }
}

/** What `applyIdentityChanges` did to a policy map. */
export type MapDelta = { readonly added: PolicyMapEntry[]; readonly removed: PolicyMapEntry[] };

/**
 * Brings a policy up to date with changes of the cache, in place, and gives the rows to write and to delete. Only the users of the changes' selectors
 * (`usersOf`) need it. They must be the cache's last changes: selectors that were taken into use since are not in them.
 */
export function applyIdentityChanges(policy: EndpointPolicy, cache: SelectorCache, changes: readonly IdentityChange[]): MapDelta {
  const delta: MapDelta = { added: [], removed: [] };
  // Of several changes of one identity the last counts.
  const last = changes.length === 1 ? changes : new Map(changes.map((one) => [one.id, one])).values();
  for (const change of last)
    for (const direction of directions) applyToDirection(policy.state[direction], cache, policy.subject, change, delta);
  return delta;
}
