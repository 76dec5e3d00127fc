import { parsePolicy } from "../parse.ts";
import { type Issue, policyKey } from "../rule.ts";
import { memorySource } from "../world/objects.ts";
import { lintEmpties } from "./empties.ts";
import type { Finding } from "./finding.ts";
import { lintPatterns } from "./patterns.ts";
import { lintText } from "./static.ts";

/** What a policy's author should hear when it is stored: why it has no effect, or what it does that was probably not meant. */
export type Review = { readonly issues: readonly Issue[]; readonly errors: readonly string[]; readonly warnings: readonly string[] };

const source = memorySource("review");

function textOf({ path, message }: Pick<Finding, "path" | "message">): string {
  return path === undefined || path === "" ? message : `${path}: ${message}`;
}

/** Looks at one policy object by itself, without the cluster. Never throws. */
export function reviewPolicy(object: unknown): Review {
  const parsed = parsePolicy(object);
  const policy = { key: policyKey(parsed.ref), parsed, from: { object, source } };
  const findings = [...lintText(parsed), ...lintEmpties(policy), ...lintPatterns(parsed)];
  return {
    issues: parsed.issues,
    errors: parsed.issues.map(textOf),
    // What is refused is said already; hints without a place are about the whole policy.
    warnings: [...new Set(findings.filter(({ id }) => id !== "L00").map(textOf))],
  };
}
