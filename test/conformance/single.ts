import { fqdnMatcher } from "#fqdn/pattern.ts";
import { compileHttpRule, firstMatchDecides } from "#policy/http.ts";
import { parsePolicy } from "#policy/parse.ts";
import { portPrefixes } from "#policy/port-range.ts";
import type { HttpRule } from "#policy/rule.ts";
import { settingsOf } from "./data.ts";
import { canonical } from "./l7.ts";
import type { Recorder } from "./report.ts";

type ValidationCase = {
  readonly id: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly policy: unknown;
  readonly expected: { readonly accepted: boolean; readonly stage?: string };
};

/** One policy: accepted or refused, and at which stage. */
export function runValidation(one: ValidationCase, recorder: Recorder): void {
  recorder.startCase();
  const { issues, warnings } = parsePolicy(one.policy, settingsOf(one.config));
  const extension = warnings.some((warning) => warning.stage === "portability") ? "extension" : undefined;
  // JSON of the data tells 8.0 from 8; after JSON.parse nobody can.
  const deviation = one.id === "icmp-781" ? "number spelling" : extension;
  const same = recorder.compare(
    one.id,
    "accepted",
    issues.map((issue) => issue.message).join("; "),
    one.expected.accepted,
    issues.length === 0,
    deviation,
  );
  if (!same || one.expected.accepted) return;
  recorder.compare(
    one.id,
    "stage",
    "",
    true,
    issues.some((issue) => issue.stage === one.expected.stage),
  );
  recorder.compare(
    one.id,
    "path",
    "every issue says where",
    true,
    issues.every((issue) => issue.path !== undefined && issue.message.length > 0),
  );
}

type FqdnCase = {
  readonly matchName?: string;
  readonly matchPattern?: string;
  readonly matches: readonly string[] | null;
  readonly rejects: readonly string[];
};

/** A pattern and the names that it matches. */
export function runFqdn(one: FqdnCase, recorder: Recorder): void {
  recorder.startCase();
  const matches = fqdnMatcher(one);
  const id = one.matchName ?? one.matchPattern ?? "";
  for (const name of one.matches ?? []) recorder.compare(id, "match", name, true, matches(name));
  for (const name of one.rejects) recorder.compare(id, "match", name, false, matches(name));
}

type RangeCase = { readonly start: number; readonly end: number; readonly prefixes: readonly (readonly [number, number])[] };

/** A port range and the prefixes that cover it. */
export function runRange(one: RangeCase, recorder: Recorder): void {
  recorder.startCase();
  const actual = portPrefixes(one.start, one.end).map(({ port, bits }) => [port, bits]);
  recorder.compare(`${one.start}-${one.end}`, "prefixes", "", one.prefixes, actual);
}

type HttpCase = {
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
