import { lintCluster } from "./lint-cluster.ts";
import { lintPolicy } from "./lint-static.ts";
import type { Repository } from "./repository.ts";
import { formatRuleRef, type PolicyRef, policyKey, type RuleRef } from "./rule.ts";
import type { SelectorCache } from "./selector-cache.ts";

/** Something that is legal but probably not meant. */
export type Finding = {
  /** Stable: the same kind of finding always has the same id. */
  readonly id: string;
  readonly severity: "error" | "warning" | "info";
  readonly policy: PolicyRef;
  readonly rule?: RuleRef;
  readonly message: string;
};

const order = { error: 0, warning: 1, info: 2 } as const;

/**
 * What the policies show to be probably not meant, the worst first. With a cache of the cluster's identities the policies are also tried on
 * what exists now; without one each is looked at alone.
 */
export function lintPolicies(repo: Repository, cache?: SelectorCache): Finding[] {
  const findings = [...repo.policies.values()].flatMap((parsed) => [...lintPolicy(parsed)]);
  if (cache !== undefined) findings.push(...lintCluster(repo, cache));
  return findings.sort((a, b) => order[a.severity] - order[b.severity] || (policyKey(a.policy) < policyKey(b.policy) ? -1 : 1));
}

/** One finding in one line. */
export function formatFinding({ id, severity, policy, rule, message }: Finding): string {
  const where = rule === undefined ? `${policy.namespace === "" ? "" : `${policy.namespace}/`}${policy.name}` : formatRuleRef(rule);
  return `${severity} ${id} ${where}: ${message}`;
}
