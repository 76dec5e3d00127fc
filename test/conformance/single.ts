import { type FqdnSelector, fqdnMatcher } from "#fqdn/pattern.ts";
import { compileHttpRule, firstMatchDecides } from "#policy/l7/http.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { portPrefixes } from "#policy/resolve/port-range.ts";
import type { HttpRule } from "#policy/rule.ts";
import { settingsOf } from "./data.ts";
import { canonical } from "./l7.ts";
import type { Recorder } from "./report.ts";

/** A policy that is accepted or refused. */
export type ValidationCase = {
  readonly id: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly policy: unknown;
  readonly expected: { readonly accepted: boolean; readonly stage?: string };
};

/**
 * Whether the policy is refused only for how a whole number is spelled: Cilium reads types from the text, where `8.0` is not `8`, which no value
 * can tell after parsing. It is so when the policy would be refused with a true fraction in that place.
 */
function isNumberSpelling({ expected, config }: ValidationCase, text: string): boolean {
  if (expected.accepted || expected.stage !== "decode") return false;
  const asFraction = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    Number.isInteger(value) && /[.eE]/.test(context?.source ?? "") ? Number(value) + 0.5 : value;
  const { policy } = JSON.parse(text, asFraction) as ValidationCase;
  return parsePolicy(policy, settingsOf(config ?? {})).issues.some(({ stage }) => stage === "decode");
}

/** One policy: accepted or refused, and at which stage. `text` is the line as it was written. */
export function runValidation(one: ValidationCase, text: string, recorder: Recorder): void {
  recorder.startCase();
  const { issues, warnings } = parsePolicy(one.policy, settingsOf(one.config ?? {}));
  const extension = !one.expected.accepted && warnings.some((warning) => warning.stage === "portability") ? "extension" : undefined;
  const deviation = isNumberSpelling(one, text) ? "number spelling" : extension;
  const same = recorder.compare(
    one.id,
    "accepted",
    issues.map((issue) => issue.message).join("; "),
    one.expected.accepted,
    issues.length === 0,
    deviation,
  );
  if (!same || one.expected.accepted) return;
  const { stage } = one.expected;
  const stages = issues.map((issue) => issue.stage as string);
  if (stage !== undefined) recorder.compare(one.id, "stage", stages.join(", "), true, stages.includes(stage));
  recorder.compare(
    one.id,
    "path",
    "every issue says where",
    true,
    issues.every((issue) => issue.path !== undefined && issue.message.length > 0),
  );
}

/** A name or pattern, and names that it matches and does not match. */
export type FqdnCase = {
  readonly matchName?: string;
  readonly matchPattern?: string;
  readonly matches?: readonly string[] | null;
  readonly rejects?: readonly string[];
  /** The pattern is refused. */
  readonly error?: string;
};

/** Whether a policy with this name or pattern is refused. */
function refusesName(name: FqdnSelector): boolean {
  const metadata = { name: "one", namespace: "default" };
  const spec = { endpointSelector: {}, egress: [{ toFQDNs: [name] }] };
  return parsePolicy({ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec }, settingsOf({})).issues.length > 0;
}

/** A pattern and the names that it matches. */
export function runFqdn(one: FqdnCase, recorder: Recorder): void {
  recorder.startCase();
  const id = one.matchName ?? one.matchPattern ?? "";
  const { matchName, matchPattern, error } = one;
  recorder.compare(id, "refused", "", error !== undefined, refusesName({ matchName, matchPattern }));
  if (error !== undefined) return;
  const matches = fqdnMatcher(one);
  for (const name of one.matches ?? []) recorder.compare(id, "match", name, true, matches(name));
  for (const name of one.rejects ?? []) recorder.compare(id, "match", name, false, matches(name));
}

/** A port range with its prefixes. */
export type RangeCase = { readonly start: number; readonly end: number; readonly prefixes: readonly (readonly [number, number])[] };

/** A port range and the prefixes that cover it. */
export function runRange(one: RangeCase, recorder: Recorder): void {
  recorder.startCase();
  const actual = portPrefixes(one.start, one.end).map(({ port, bits }) => [port, bits]);
  recorder.compare(`${one.start}-${one.end}`, "prefixes", "", one.prefixes, actual);
}

/** An HTTP rule with its conditions. */
export type HttpCase = {
  readonly rule: HttpRule;
  readonly expected: { readonly matchers: readonly unknown[]; readonly actions: readonly unknown[]; readonly firstMatchDecides: boolean };
};

/** An HTTP rule and its conditions. */
export function runHttp(one: HttpCase, recorder: Recorder): void {
  recorder.startCase();
  const compiled = compileHttpRule(one.rule);
  const id = JSON.stringify(one.rule);
  recorder.compare(id, "matchers", "", canonical(one.expected.matchers), canonical(compiled.matchers));
  recorder.compare(id, "actions", "", canonical(one.expected.actions), canonical(compiled.actions));
  recorder.compare(id, "firstMatchDecides", "", one.expected.firstMatchDecides, firstMatchDecides([compiled]));
}
