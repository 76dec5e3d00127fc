import { parsePolicy } from "../parse/parse.ts";
import { type Issue, type ParsedPolicy, policyKey } from "../rule.ts";
import { defaultSettings, type PolicySettings } from "../settings.ts";
import { memorySource, rulePath } from "../world/objects.ts";
import { lintAlone } from "./alone.ts";
import type { Finding } from "./finding.ts";
import { lintMakesMoot, lintMoot } from "./moot.ts";

/** What a policy's author should hear when it is stored: why it has no effect, or what it does that was probably not meant. */
export type Review = { readonly issues: readonly Issue[]; readonly errors: readonly string[]; readonly warnings: readonly string[] };

const source = memorySource("review");

function textOf({ path, message }: { readonly path?: string | undefined; readonly message: string }): string {
  return path === undefined || path === "" ? message : `${path}: ${message}`;
}

/** What is known around a policy: the cluster's other policies and its agents' settings. */
export type Surroundings = { readonly others: readonly ParsedPolicy[]; readonly settings: PolicySettings };

const alone: Surroundings = { others: [], settings: defaultSettings };

/** Looks at one policy object, by itself and beside the others, without any pods. Never throws. */
export function reviewPolicy(object: unknown, { others, settings }: Surroundings = alone): Review {
  const parsed = parsePolicy(object, settings);
  const policy = { key: policyKey(parsed.ref), parsed, from: { object, source } };
  const rest = others.filter(({ ref }) => policyKey(ref) !== policy.key);
  const findings = [...lintAlone(policy), ...lintMoot([parsed], rest), ...lintMakesMoot(parsed, rest)];
  return {
    issues: parsed.issues,
    errors: parsed.issues.map(textOf),
    // What is refused is said already; hints without a place are about the whole policy.
    warnings: [...new Set(findings.filter(({ id }) => id !== "L00").map((one) => textOf({ ...one, path: pathOf(object, one) })))],
  };
}

function pathOf(object: unknown, { path, rule }: Finding): string | undefined {
  return path ?? (rule === undefined ? undefined : rulePath(object, rule));
}
