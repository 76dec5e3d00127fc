import type { RuleRef, TlsContext } from "../rule.ts";
import { ruleKey, strengthOf } from "../rule.ts";
import { type Filter, hasL7, type L7Parser, parserPriority, type Redirect } from "./filter.ts";

/** Two rules that can not stand together; the endpoint keeps its last good policy. */
export class MergeConflict extends Error {
  override readonly name = "MergeConflict";
  readonly code = "POLICY_CONFLICT";
}

function mergeParser(a: L7Parser, b: L7Parser): L7Parser {
  if (a === b) return a;
  if (a === "tls" && (b === "http" || b === "kafka")) return b;
  if (b === "tls" && (a === "http" || a === "kafka")) return a;
  throw new MergeConflict(`cannot merge conflicting L7 parsers (${[a, b].sort().join("/")})`);
}

function mergeRedirect(a: Redirect | undefined, b: Redirect | undefined): Redirect | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const parser = mergeParser(a.parser, b.parser);
  if (a.listener === b.listener) {
    if (a.parser === b.parser) return { ...a, priority: Math.min(a.priority, b.priority) };
    return { ...a, parser, priority: parser === a.parser ? a.priority : b.priority };
  }
  if (a.listener === undefined || b.listener === undefined) return a.listener === undefined ? b : a;
  if (a.priority === b.priority)
    throw new MergeConflict(`cannot merge conflicting listeners of equal priority (${[a.listener, b.listener].sort().join("/")})`);
  return a.priority < b.priority ? a : b;
}

function mergeTls(kind: string, peer: string, a: TlsContext | undefined, b: TlsContext | undefined): TlsContext | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  if (JSON.stringify(a) === JSON.stringify(b)) return a;
  throw new MergeConflict(`cannot merge conflicting ${kind} TLS contexts for ${peer}`);
}

type Authentication = Pick<Filter, "auth" | "emptyAuth">;

function mergeAuth(a: Authentication, b: Authentication): Authentication {
  const modes = [a, b].map((one) => one.auth ?? one.emptyAuth);
  if (modes.includes(undefined) || modes[0] === modes[1]) return { auth: a.auth ?? b.auth, emptyAuth: a.emptyAuth ?? b.emptyAuth };
  throw new MergeConflict(`cannot merge conflicting authentication types (${modes.sort().join("/")})`);
}

/** Both lists, each element once. */
function union<T>(a: readonly T[], b: readonly T[]): readonly T[] {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const seen = new Set(a.map((one) => JSON.stringify(one)));
  return [...a, ...b.filter((one) => !seen.has(JSON.stringify(one)))];
}

/** All origins, each once. */
export function unionOrigins(a: readonly RuleRef[], b: readonly RuleRef[]): readonly RuleRef[] {
  if (a.length === 0 || b.length === 0) return a.length === 0 ? b : a;
  const seen = new Set(a.map(ruleKey));
  return [...a, ...b.filter((one) => !seen.has(ruleKey(one)))];
}

/** The filter with a rule that allows everything of its application protocol. */
export function withL7Wildcard(filter: Filter): Filter {
  return {
    ...filter,
    http: filter.http.length > 0 ? union(filter.http, [{}]) : filter.http,
    dns: filter.dns.length > 0 ? union(filter.dns, [{ matchPattern: "*" }]) : filter.dns,
    kafka: filter.kafka.length > 0 ? union(filter.kafka, [{}]) : filter.kafka,
  };
}

function isPlain(filter: Filter): boolean {
  return (
    !hasL7(filter) && filter.redirect === undefined && (filter.auth ?? filter.emptyAuth) === undefined && filter.serverNames.length === 0
  );
}

/**
 * What two filters of the same peers, port and level mean together: a deny covers an allow, and allows are united; that one of them had no
 * application rules is remembered in `widened`. Throws MergeConflict when they can not stand together. The order does not matter.
 */
export function mergeFilters(a: Filter, b: Filter): Filter {
  const logs = [...new Set([...a.logs, ...b.logs])];
  if (a.action !== b.action) return strengthOf(a.action) > strengthOf(b.action) ? a : b;
  const origins = unionOrigins(a.origins, b.origins);
  if (a.action !== "allow" || (isPlain(a) && isPlain(b))) return { ...a, origins, logs };
  const merged: Filter = {
    ...a,
    redirect: mergeRedirect(a.redirect, b.redirect),
    http: union(a.http, b.http),
    dns: union(a.dns, b.dns),
    kafka: union(a.kafka, b.kafka),
    widened: a.widened || b.widened || hasL7(a) !== hasL7(b),
    restricts: a.restricts || b.restricts,
    serverNames: union(a.serverNames, b.serverNames),
    terminatingTls: mergeTls("terminating", a.peer.text, a.terminatingTls, b.terminatingTls),
    originatingTls: mergeTls("originating", a.peer.text, a.originatingTls, b.originatingTls),
    ...mergeAuth(a, b),
    origins,
    logs,
  };
  if (merged.serverNames.length > 0 && hasL7(merged) && merged.terminatingTls === undefined) {
    throw new MergeConflict(
      `cannot merge L7 rules for ${a.peer.text} with SNI filtering without TLS termination: ${merged.serverNames.join(", ")}`,
    );
  }
  return merged;
}

/** The redirect that a listener of the policy means. */
export function listenerRedirect(listener: string, priority: number): Redirect {
  return { parser: "crd", listener, priority: priority === 0 ? parserPriority.crd : priority };
}
