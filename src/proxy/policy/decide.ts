import { readingsOf } from "#policy/l7/path-readings.ts";
import type { AccessDenial, NearMiss, PeerRule, RuleOrigin, TlsContext } from "../protocol.ts";
import { pendingActions } from "./header-actions.ts";
import { type CompiledHttpRule, compileHttpRule, type HeaderAction, type RequestView, ruleMatches, ruleMismatches } from "./http-rule.ts";
import { indexRules, type RuleIndex } from "./rule-index.ts";

/** A rule of the policy, and which of its HTTP rules. */
export interface SelectedRule {
  readonly origins: readonly RuleOrigin[];
  readonly index: number;
  readonly compiled: CompiledHttpRule;
}

/** The rules of one port for one peer, compiled. */
export interface PeerPolicy {
  readonly identity: number;
  /** Rules that allow everything; when there is one, nothing is denied. */
  readonly wildcards: readonly PeerRule[];
  readonly rules: readonly SelectedRule[];
  /** `rules` by the paths they allow. */
  readonly byPath: RuleIndex<SelectedRule>;
  /** Rules of the port that are for other peers: shown as near misses. */
  readonly others: readonly PeerRule[];
  /** Some rule changes headers: then all matching rules have their say, not only the first. */
  readonly hasActions: boolean;
  /** Lower case names of the headers that rules look at or change. */
  readonly headerNames: ReadonlySet<string>;
  /** The server is called by TLS. */
  readonly originating?: TlsContext;
}

export interface Allowance {
  readonly allowed: true;
  readonly origins: readonly RuleOrigin[];
  /** Header expectations that the request does not meet. */
  readonly actions: readonly HeaderAction[];
}

export type Decision = Allowance | { readonly allowed: false; readonly denied: AccessDenial };

const MAX_NEAREST = 3;
const MAX_ORIGINS = 16;
const MAX_SHOWN_IDENTITIES = 8;
const NO_ACTIONS: readonly HeaderAction[] = [];

/** Compiles the rules for a peer, `mine`; `others` of the port only explain denials. An empty `http` list allows nothing. */
export function selectPeer(mine: readonly PeerRule[], others: readonly PeerRule[], identity: number): PeerPolicy {
  const compiled = mine.flatMap((rule) =>
    (rule.http ?? []).map((http, index) => ({ origins: rule.origins, index, compiled: compileHttpRule(http) })),
  );
  const originating = mine.find((rule) => rule.originatingTls !== undefined)?.originatingTls;
  return {
    identity,
    wildcards: mine.filter((rule) => rule.http === null),
    rules: compiled,
    byPath: indexRules(compiled, (rule) => rule.compiled.path?.prefix ?? ""),
    others,
    hasActions: compiled.some((rule) => rule.compiled.actions.length > 0),
    headerNames: new Set(compiled.flatMap((rule) => [...rule.compiled.headers, ...rule.compiled.actions].map(({ name }) => name))),
    ...(originating === undefined ? {} : { originating }),
  };
}

/** The union of the rules: allowed when any rule allows it, in every way a server may read the path. */
export function decide(policy: PeerPolicy, request: RequestView): Decision {
  const wildcard = policy.wildcards[0];
  if (wildcard !== undefined && !policy.hasActions) return { allowed: true, origins: wildcard.origins, actions: NO_ACTIONS };
  const first = firstMatching(policy, request, request.path);
  if (first === undefined && wildcard === undefined) return deny(policy, request, request.path, "policy");
  const readings = readingsOf(request.path);
  // Also beside a rule that allows everything: nobody could tell whose headers it is to have.
  if (readings === null) return deny(policy, request, request.path, "ambiguous-path");
  if (wildcard === undefined) {
    const refused = readings.find((path) => firstMatching(policy, request, path) === undefined);
    if (refused !== undefined) return deny(policy, request, refused, "ambiguous-path");
  }
  const actions = policy.hasActions ? actionsOn(policy, request, [request.path, ...readings]) : NO_ACTIONS;
  return { allowed: true, origins: first?.origins ?? wildcard?.origins ?? [], actions };
}

function firstMatching({ byPath }: PeerPolicy, request: RequestView, path: string): SelectedRule | undefined {
  return byPath.first(path, ({ compiled }) => ruleMatches(compiled, request, path));
}

/** What the rules for any of the paths that the server may read have to change. */
function actionsOn({ byPath }: PeerPolicy, request: RequestView, paths: readonly string[]): readonly HeaderAction[] {
  const rules = paths.flatMap((path) => byPath.candidates(path).filter(({ compiled }) => ruleMatches(compiled, request, path)));
  return pendingActions(
    [...new Set(rules)].flatMap(({ compiled }) => compiled.actions),
    request,
  );
}

function deny(policy: PeerPolicy, request: RequestView, path: string, reason: "policy" | "ambiguous-path"): Decision {
  const origins = [...new Set([...policy.rules, ...policy.others].flatMap((rule) => rule.origins))].slice(0, MAX_ORIGINS);
  const nearest = nearMisses(policy, request, path);
  return { allowed: false, denied: reason === "policy" ? { origins, nearest, reason } : { origins, nearest, reason, reading: path } };
}

function nearMisses(policy: PeerPolicy, request: RequestView, path: string): readonly NearMiss[] {
  const misses: NearMiss[] = policy.rules.map((rule) => ({
    origins: rule.origins,
    httpIndex: rule.index,
    mismatches: ruleMismatches(rule.compiled, request, path),
  }));
  for (const rule of policy.others.slice(0, MAX_NEAREST)) {
    const wanted = (rule.identities ?? []).slice(0, MAX_SHOWN_IDENTITIES).join(",");
    misses.push({ origins: rule.origins, mismatches: [{ field: "identity", wanted, found: String(policy.identity) }] });
  }
  // Rules for this peer come first; among them those that fail in the fewest fields.
  const rank = (miss: NearMiss) => miss.mismatches.length + (miss.httpIndex === undefined ? 100 : 0);
  return misses
    .filter((miss) => miss.mismatches.length > 0)
    .sort((a, b) => rank(a) - rank(b))
    .slice(0, MAX_NEAREST);
}
