import { isFixedHeader } from "#policy/l7/fixed-headers.ts";
import { isFieldValue, isToken } from "../http/header-fields.ts";
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

/** Compiles one rule. What no request can meet, such as an expression that is none, makes a rule that matches nothing. */
export function compileHttpRule(rule: HttpRule): CompiledHttpRule {
  const matches = rule.headerMatches ?? [];
  return {
    method: rule.method ? compileText(rule.method) : null,
    path: rule.path ? compileText(rule.path) : null,
    host: rule.host ? compileText(rule.host) : null,
    headers: [...(rule.headers ?? []).map(parseHeader), ...matches.flatMap(testsOf)],
    actions: matches.flatMap(({ name, value, mismatch }) => (mismatch ? [{ name: name.toLowerCase(), value: value ?? "", mismatch }] : [])),
  };
}

/** No header value has a line break. */
const NO_VALUE = "\n";

/** What a match decides about the request: nothing when it has an action that can be done. */
function testsOf(match: HeaderMatch): HeaderTest[] {
  const name = match.name.toLowerCase();
  const fault = faultOf(match);
  if (fault !== undefined) return [{ name, value: NO_VALUE, shown: `${match.name} (${fault})` }];
  return match.mismatch ? [] : [{ name, value: match.value || undefined, shown: match.name }];
}

/** Why no request can meet it. */
function faultOf({ name, value, secret, mismatch }: HeaderMatch): string | undefined {
  if (secret !== undefined && secret !== null && value === undefined) {
    const { namespace = "", name: of = "" } = secret as { readonly namespace?: string; readonly name?: string };
    return `Secret ${namespace}/${of} is not there, or has not exactly one value`;
  }
  if (mismatch === "LOG") return undefined;
  if (mismatch && isFixedHeader(name)) return "no rule may change it";
  if (mismatch && !isToken(name)) return "no header has such a name";
  const isBad = value !== undefined && !isFieldValue(value);
  return isBad && mismatch !== "DELETE" ? "its value has a control character, such as a line break at its end" : undefined;
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
  return rule.headers.every((test) => headerMatches(test, request, path));
}

/** A header as Envoy has it, where the parts of the request line are headers, too. */
function headerOf({ header, method, host }: RequestView, name: string, path: string): string | undefined {
  if (name === "host" || name === ":authority") return host || undefined;
  if (name === ":method") return method;
  return name === ":path" ? path || undefined : header(name);
}

/** Beside the right value a lookalike may be the one that the server goes by. */
function headerMatches({ name, value }: HeaderTest, request: RequestView, path: string): boolean {
  const found = headerOf(request, name, path);
  return value === undefined ? found !== undefined : found === value && !request.hasLookalike(name);
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
    if (headerMatches(test, request, path)) continue;
    found.push({ field: "header", wanted: test.shown, found: foundHeader(test, request, path) });
  }
  return found;
}

function foundHeader({ name, value }: HeaderTest, request: RequestView, path: string): string {
  const found = headerOf(request, name, path);
  if (found === undefined) return "missing";
  return found === value ? "also with _ for -" : "another value";
}
