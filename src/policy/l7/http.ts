import { RE2JS } from "re2js";
import type { HttpRule } from "../rule.ts";
import { isFixedHeader } from "./fixed-headers.ts";

/** A request as rules see it; header names in any case, several values joined by a comma. */
export type HttpRequest = {
  readonly method: string;
  /** Path and query as sent. */
  readonly path: string;
  readonly host: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
};

/** One condition of a rule: on a header, or on `:method`, `:path` or `:authority`. */
export type HttpMatcher =
  | { readonly name: string; readonly kind: "regex" | "exact"; readonly value: string }
  | { readonly name: string; readonly kind: "present" };

/** A header that a rule changes or logs when it is not as wanted; it never makes the rule fail. */
export type HttpAction = { readonly name: string; readonly value: string; readonly onMismatch: "continue" | "add" | "delete" | "replace" };

/** An HTTP rule as conditions, all of which must hold. */
export type HttpMatchers = { readonly matchers: readonly HttpMatcher[]; readonly actions: readonly HttpAction[] };

/** Which condition failed, what it wanted and what was there. */
export type HttpMismatch = { readonly field: string; readonly wanted: string; readonly found: string };

/** No header value has a line break. */
const NO_VALUE = "\n";

const onMismatch = { LOG: "continue", ADD: "add", DELETE: "delete", REPLACE: "replace" } as const;

/** `Name: value` asks for that value; without a blank the whole text is the name of a header that must be there. */
function headerMatcher(text: string): HttpMatcher {
  const blank = text.indexOf(" ");
  if (blank < 0) return { name: text, kind: "present" };
  return { name: text.slice(0, blank).replace(/:+$/, ""), kind: "exact", value: text.slice(blank + 1) };
}

/** Turns a rule into its conditions, sorted by name. A rule without any matches every request. */
export function compileHttpRule(rule: HttpRule): HttpMatchers {
  const matchers: HttpMatcher[] = [];
  const regex = (name: string, value: string | undefined) => {
    if (value !== undefined && value !== "") matchers.push({ name, kind: "regex", value });
  };
  regex(":path", rule.path);
  regex(":authority", rule.host);
  regex(":method", rule.method);
  for (const text of rule.headers ?? []) matchers.push(headerMatcher(text));
  const actions: HttpAction[] = [];
  for (const { name, value = "", mismatch } of rule.headerMatches ?? []) {
    if (mismatch !== undefined && mismatch !== "LOG" && isFixedHeader(name)) matchers.push({ name, kind: "exact", value: NO_VALUE });
    else if (mismatch !== undefined) actions.push({ name, value, onMismatch: onMismatch[mismatch] });
    else matchers.push(value === "" ? { name, kind: "present" } : { name, kind: "exact", value });
  }
  matchers.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return { matchers, actions };
}

/** False as soon as a rule with actions is among them: then the proxy must look at every rule, not stop at the first that matches. */
export function firstMatchDecides(rules: readonly HttpMatchers[]): boolean {
  return rules.every((one) => one.actions.length === 0);
}

function valueIn(request: HttpRequest, name: string): string | undefined {
  const wanted = name.toLowerCase();
  if (wanted === ":path") return request.path;
  if (wanted === ":method") return request.method;
  if (wanted === ":authority" || wanted === "host") return request.host || undefined;
  const values = request.headers.filter(([key]) => key.toLowerCase() === wanted).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(",");
}

/** Whether the whole text matches an RE2 pattern; a pattern that is none matches nothing. */
export function matchesWhole(pattern: string, text: string): boolean {
  try {
    return RE2JS.compile(pattern).matcher(text).matches();
  } catch {
    return false;
  }
}

function holds(matcher: HttpMatcher, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (matcher.kind === "present") return true;
  return matcher.kind === "exact" ? value === matcher.value : matchesWhole(matcher.value, value);
}

const shownNames: Readonly<Record<string, string>> = { ":path": "path", ":method": "method", ":authority": "host" };

/** The conditions that keep a rule from allowing a request; none when it allows it. Values of headers may be secret and are not shown. */
export function httpMismatches({ matchers }: HttpMatchers, request: HttpRequest): HttpMismatch[] {
  return matchers.flatMap((matcher): HttpMismatch[] => {
    const value = valueIn(request, matcher.name);
    if (holds(matcher, value)) return [];
    const field = shownNames[matcher.name];
    if (field !== undefined) return [{ field, wanted: matcher.kind === "present" ? "" : matcher.value, found: value ?? "" }];
    const wanted = matcher.kind === "present" ? `${matcher.name} present` : `another value of ${matcher.name}`;
    return [{ field: `header ${matcher.name}`, wanted, found: value === undefined ? "missing" : "present" }];
  });
}
