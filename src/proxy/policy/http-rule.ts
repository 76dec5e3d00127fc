import type { HeaderMatch, HttpRule, Mismatch, Mismatched } from "../protocol.ts";
import { compileText, type TextTest } from "./text-test.ts";

/** What rules look at. `header` gives all values of a name (any case) joined by a comma, as Envoy does, or undefined. */
export interface RequestView {
  readonly method: string;
  /** Path and query as sent. */
  readonly path: string;
  /** The Host header, port included, as sent. */
  readonly host: string;
  header(name: string): string | undefined;
  /** There is a header of another name that servers of the CGI family take for this one: `X_Role` for `X-Role`. */
  hasLookalike(name: string): boolean;
}

export interface HeaderTest {
  readonly name: string;
  /** undefined: any value. */
  readonly value: string | undefined;
  /** How the test is shown in explanations; never shows values that may be secret. */
  readonly shown: string;
}

/** A header expectation that changes or logs the request instead of deciding about it. */
export interface HeaderAction {
  readonly name: string;
  readonly value: string;
  readonly mismatch: Mismatch;
}

export interface CompiledHttpRule {
  readonly method: TextTest | null;
  readonly path: TextTest | null;
  readonly host: TextTest | null;
  readonly headers: readonly HeaderTest[];
  readonly actions: readonly HeaderAction[];
}

/** Compiles one rule. Throws on a bad expression. */
export function compileHttpRule(rule: HttpRule): CompiledHttpRule {
  const matches = rule.headerMatches ?? [];
  return {
    method: rule.method ? compileText(rule.method) : null,
    path: rule.path ? compileText(rule.path) : null,
    host: rule.host ? compileText(rule.host) : null,
    headers: [
      ...(rule.headers ?? []).map(parseHeader),
      ...matches
        .filter((match) => match.mismatch === undefined || isUnknownSecret(match))
        .map((match) => ({ name: match.name.toLowerCase(), value: expectedValue(match), shown: shownName(match) })),
    ],
    actions: matches.flatMap(({ name, value, mismatch }) =>
      mismatch === undefined ? [] : [{ name: name.toLowerCase(), value: value ?? "", mismatch }],
    ),
  };
}

/** A secret that nobody resolved matches no request: no header value has a line break. */
const UNKNOWN_SECRET = "\n";

function expectedValue(match: HeaderMatch): string | undefined {
  return isUnknownSecret(match) ? UNKNOWN_SECRET : match.value || undefined;
}

function shownName(match: HeaderMatch): string {
  if (!isUnknownSecret(match)) return match.name;
  const { namespace = "", name = "" } = match.secret as { readonly namespace?: string; readonly name?: string };
  return `${match.name} (Secret ${namespace}/${name} is not there, or has not exactly one value)`;
}

function isUnknownSecret({ value, secret }: HeaderMatch): boolean {
  return secret !== undefined && secret !== null && !value;
}

/** `Name: value` asks for that value; without a blank the whole text is a name (also `X-A:b`, as in Cilium). */
function parseHeader(text: string): HeaderTest {
  const blank = text.indexOf(" ");
  if (blank < 0) return { name: text.toLowerCase(), value: undefined, shown: text };
  const name = text.slice(0, blank).replace(/:+$/, "");
  return { name: name.toLowerCase(), value: text.slice(blank + 1), shown: name };
}

/** True when the rule allows the request if its path is read as `path`. */
export function ruleMatches(rule: CompiledHttpRule, request: RequestView, path: string): boolean {
  if (rule.method !== null && !rule.method.test(request.method)) return false;
  if (rule.path !== null && !rule.path.test(path)) return false;
  if (rule.host !== null && !rule.host.test(request.host)) return false;
  return rule.headers.every((test) => headerMatches(test, request));
}

function headerMatches(test: HeaderTest, request: RequestView): boolean {
  const found = request.header(test.name);
  return test.value === undefined ? found !== undefined : found === test.value;
}

/** Everything that keeps the rule from allowing the request; empty when it allows it. */
export function ruleMismatches(rule: CompiledHttpRule, request: RequestView, path: string): readonly Mismatched[] {
  const found: Mismatched[] = [];
  if (rule.method !== null && !rule.method.test(request.method)) {
    found.push({ field: "method", wanted: rule.method.pattern, found: request.method });
  }
  if (rule.path !== null && !rule.path.test(path)) found.push({ field: "path", wanted: rule.path.pattern, found: path });
  if (rule.host !== null && !rule.host.test(request.host)) found.push({ field: "host", wanted: rule.host.pattern, found: request.host });
  for (const test of rule.headers) {
    if (headerMatches(test, request)) continue;
    found.push({ field: "header", wanted: test.shown, found: request.header(test.name) === undefined ? "missing" : "another value" });
  }
  return found;
}

/** True when the request already is as the action wants it. */
export function actionSatisfied({ name, value, mismatch }: HeaderAction, request: RequestView): boolean {
  const found = request.header(name);
  const isMet = value === "" ? found !== undefined : found === value;
  // Beside the right header a lookalike may be the one that the server goes by.
  return isMet && !((mismatch === "DELETE" || mismatch === "REPLACE") && request.hasLookalike(name));
}
