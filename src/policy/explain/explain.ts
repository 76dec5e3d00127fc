import type { NumericIdentity } from "#types/identity.ts";
import type { HttpRequest } from "../l7/http.ts";
import type { Repository } from "../resolve/repository.ts";
import type { EndpointPolicy } from "../resolve/resolve.ts";
import { type Flow, type Verdict, verdict } from "../resolve/verdict.ts";
import { formatRuleRef, type PolicyRef, type Rule, type RuleRef } from "../rule.ts";
import type { SelectorCache } from "../selectors/selector-cache.ts";
import { explainHttp, type HttpExplanation } from "./http.ts";
import { formatFlowPort, isNear, type Miss, missOf, type Peer } from "./near-miss.ts";

/** A rule that did not cover the flow, and what would have had to be different. */
export type NearMiss = { readonly origin: RuleRef; readonly reasons: readonly string[] };

/** Why traffic gets the verdict that it gets. */
export type Explanation = {
  readonly verdict: Verdict;
  /** The rules that decided; none when it was default deny, or when nothing is enforced. */
  readonly decidedBy: readonly RuleRef[];
  /** The policies that put the endpoint in default deny; only when that decided. */
  readonly defaultDenyBy: readonly PolicyRef[];
  /** The allow rules that came nearest to covering denied traffic, the nearest first. */
  readonly nearest: readonly NearMiss[];
  /** What the proxy does with the request, where one was given and the traffic goes to it. */
  readonly http?: HttpExplanation;
  /** The decision for people, one sentence a line; `formatNearMiss` says the rest. */
  readonly lines: readonly string[];
};

/** Near misses that an explanation lists. */
const NEAREST = 3;

/**
 * Explains a verdict of a resolved policy. Pure; asks the same entries as the datapath, then the rules they came from. With `brief` it does not look
 * for what came nearest, which takes most of the time.
 */
export function explain(
  repo: Repository,
  cache: SelectorCache,
  policy: EndpointPolicy,
  flow: Flow & { readonly http?: HttpRequest | undefined; readonly brief?: boolean | undefined },
): Explanation {
  const decision = verdict(policy, flow);
  const decidedBy = decision.entry?.origins ?? [];
  const denied = decision.verdict === "denied";
  const byDefault = denied && decidedBy.length === 0;
  const defaultDenyBy = byDefault ? policy[flow.direction].defaultDenyBy : [];
  const nearest = byDefault && flow.brief !== true ? nearMisses(repo, cache, policy, flow) : [];
  const told = { verdict: decision, decidedBy, defaultDenyBy, nearest };
  const lines = [...explanationLines(told, flow, peerText(cache, flow.identity))];
  if (flow.http === undefined || decision.verdict !== "redirected") return { ...told, lines };
  const http = explainHttp(policy, flow, flow.http);
  return { ...told, http, lines: [...lines, ...httpLines(http, flow.http)] };
}

/** A near miss in one line: `nearest is ns/name (ingress) rule 0: needs 80/TCP, is 81/TCP`. */
export function formatNearMiss({ origin, reasons }: NearMiss): string {
  return `nearest is ${formatRuleRef(origin)}: ${reasons.join("; ")}`;
}

function* httpLines({ allowed, decidedBy, nearest }: HttpExplanation, { method, path }: HttpRequest): Generator<string> {
  if (allowed) {
    yield `${method} ${path}: allowed by ${decidedBy.map(formatRuleRef).join(", ") || "the host's own access"}`;
    return;
  }
  yield `${method} ${path}: refused by the proxy with 403, since no HTTP rule for this peer allows it`;
  yield* nearest.map(formatNearMiss);
}

function nearMisses(repo: Repository, cache: SelectorCache, policy: EndpointPolicy, flow: Flow): NearMiss[] {
  const labels = cache.labels(flow.identity);
  if (labels === undefined) return [];
  const entry = cache.entry(flow.identity);
  const peer: Peer = { labels, prefix: cache.prefix(flow.identity), namedPorts: entry?.namedPorts ?? [] };
  const namedPorts = flow.direction === "ingress" ? policy.subject.namedPorts : peer.namedPorts;
  return repo
    .select(policy.subject.labels, policy.subject.identity)
    .filter((rule) => rule.direction === flow.direction && rule.action === "allow" && isWorthNaming(rule))
    .filter((rule) => isNear(rule, repo.peersOf(rule), flow, peer, namedPorts))
    .map((rule) => missOf(rule, repo.peersOf(rule), flow, peer, namedPorts))
    .sort((a, b) => distance(a) - distance(b))
    .slice(0, NEAREST)
    .map(({ rule, peer: peerReasons, port }) => ({ origin: rule.origin, reasons: [...peerReasons, ...port] }));
}

/** A rule like `ingress: [{}]` is there to deny by default. */
function isWorthNaming({ peers }: Rule): boolean {
  return peers.some((one) => !one.none);
}

/** The right peer on another port is nearer than another peer on the right port; each further label that differs adds to it. */
function distance({ peer, port }: Miss): number {
  return port.length > 0 ? 1 : 1 + peer.length;
}

function peerText(cache: SelectorCache, identity: NumericIdentity): string {
  const texts = cache.labels(identity)?.texts ?? [];
  const reserved = texts.find((text) => text.startsWith("reserved:"));
  if (reserved !== undefined) return reserved.slice("reserved:".length);
  const shown = texts.filter((text) => !text.includes("io.cilium.k8s") && !text.includes("serviceaccount"));
  return shown.length > 0 ? shown.join(",") : `identity ${identity}`;
}

function allowedAnyway({ entry }: Verdict): string {
  return entry?.reason === "allow-localhost"
    ? "allowed, as the node may always reach its own pods"
    : "allowed, since no policy says otherwise";
}

function formatPolicyRef({ kind, namespace, name }: PolicyRef): string {
  return `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

function* explanationLines(told: Omit<Explanation, "lines">, flow: Flow, peer: string): Generator<string> {
  const side = flow.direction === "ingress" ? `from ${peer}` : `to ${peer}`;
  const what = `${flow.direction} ${formatFlowPort(flow)} ${side}`;
  const { verdict: decision, decidedBy, defaultDenyBy } = told;
  if (decision.verdict === "error") {
    yield `${what}: the policies cannot be merged: ${decision.error}`;
    return;
  }
  if (decision.verdict !== "denied") {
    yield decidedBy.length > 0
      ? `${what}: ${decision.verdict === "redirected" ? "allowed through the proxy" : "allowed"} by ${decidedBy.map(formatRuleRef).join(", ")}`
      : `${what}: ${allowedAnyway(decision)}`;
    return;
  }
  if (decidedBy.length > 0) {
    yield `${what}: denied by ${decidedBy.map(formatRuleRef).join(", ")}; a deny wins over every allow`;
    return;
  }
  yield `${what}: no policy allows it; default deny by ${defaultDenyBy.map(formatPolicyRef).join(", ") || "the enforcement mode"}`;
}
