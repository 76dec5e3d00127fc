import { compileHttpRule, type HttpRequest, httpMismatches } from "../l7/http.ts";
import { readingsOf } from "../l7/path-readings.ts";
import type { L7Policy, L7Rule } from "../resolve/l7-policy.ts";
import type { EndpointPolicy } from "../resolve/resolve.ts";
import type { Flow } from "../resolve/verdict.ts";
import type { RuleRef } from "../rule.ts";

/** What the proxy does with a request, and why. */
export type HttpExplanation = {
  readonly allowed: boolean;
  /** The rules that allow it. */
  readonly decidedBy: readonly RuleRef[];
  /** The rules that came nearest to allowing a refused request, the nearest first. */
  readonly nearest: readonly { readonly origin: RuleRef; readonly reasons: readonly string[] }[];
};

type Candidate = { readonly rule: L7Rule; readonly reasons: readonly string[] };

function covers({ protocol, port, endPort }: L7Policy, flow: Flow): boolean {
  if (protocol !== 0 && protocol !== flow.protocol) return false;
  return flow.port >= port && flow.port <= Math.max(port, endPort);
}

/** It allows every request. */
function isOpen({ http, parser }: L7Rule): boolean {
  return http === null && (parser === undefined || parser === "http");
}

/** Each way in which a rule could allow the request, with what keeps it from doing so. */
function candidatesOf(rule: L7Rule, request: HttpRequest): Candidate[] {
  if (rule.http === null) return isOpen(rule) ? [{ rule, reasons: [] }] : [];
  return rule.http.map((one) => ({
    rule,
    reasons: httpMismatches(compileHttpRule(one), request).map(({ field, wanted, found }) => `${field} needs ${wanted}, is ${found}`),
  }));
}

/** Judges a request as the proxy does: it passes when one rule for its peer allows it, in every way a server may read its path. */
export function explainHttp(policy: EndpointPolicy, flow: Flow, request: HttpRequest): HttpExplanation {
  const rules = policy
    .l7(flow.direction)
    .filter((one) => covers(one, flow))
    .flatMap((one) => one.rules.filter(({ identities }) => identities === null || identities.includes(flow.identity)));
  const asSent = explainRules(rules, request);
  if (!asSent.allowed || rules.some(isOpen)) return asSent;
  const readings = readingsOf(request.path);
  if (readings === null) {
    const reasons = ["the path can be read in too many ways, or is escaped as in an attack"];
    return { allowed: false, decidedBy: [], nearest: asSent.decidedBy.map((origin) => ({ origin, reasons })) };
  }
  const refused = readings.map((path) => explainRules(rules, { ...request, path })).find(({ allowed }) => !allowed);
  return refused === undefined ? asSent : asRead(refused);
}

function explainRules(rules: readonly L7Rule[], request: HttpRequest): HttpExplanation {
  const candidates = rules.flatMap((rule) => candidatesOf(rule, request));
  const allowing = candidates.filter(({ reasons }) => reasons.length === 0);
  if (allowing.length > 0) return { allowed: true, decidedBy: allowing.flatMap(({ rule }) => rule.origins), nearest: [] };
  const nearest = candidates
    .toSorted((a, b) => a.reasons.length - b.reasons.length)
    .slice(0, 3)
    .flatMap(({ rule, reasons }) => rule.origins.slice(0, 1).map((origin) => ({ origin, reasons })));
  return { allowed: false, decidedBy: [], nearest };
}

/** The path is not the one that was sent. */
function asRead({ nearest, ...same }: HttpExplanation): HttpExplanation {
  const said = (reason: string) => (reason.startsWith("path ") ? `${reason}, as some servers read it` : reason);
  return { ...same, nearest: nearest.map(({ origin, reasons }) => ({ origin, reasons: reasons.map(said) })) };
}
