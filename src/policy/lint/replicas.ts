import type { Rule } from "../rule.ts";
import type { Finding } from "./finding.ts";
import { once } from "./once.ts";
import type { Pods } from "./subjects.ts";

/** Replicas of one workload that have different identities, where policies tell them apart: most often a label typo in some of them. */
export function* lintReplicas(pods: readonly Pods[]): Generator<Finding> {
  const keyOf = ({ endpoints: [first] }: Pods) => `${first?.namespace}/${first?.workload.kind}/${first?.workload.name}`;
  for (const alike of Map.groupBy(pods, keyOf).values()) {
    const [first, ...others] = alike;
    if (first === undefined || others.length === 0) continue;
    const odd = others.find(({ rules }) => textOf(rules) !== textOf(first.rules));
    const rule = odd && (differenceOf(first.rules, odd.rules) ?? first.rules[0]);
    if (odd === undefined || rule === undefined) continue;
    const both = first.endpoints.length >= odd.endpoints.length ? [first, odd] : [odd, first];
    const [most, few] = both as [Pods, Pods];
    const message = `applies to some pods of ${first.name} only: ${few.endpoints.length} of ${count(alike)} differ in ${difference(most, few)}`;
    const fix = `give all pods of ${first.name} the same labels (${few.endpoints
      .map(({ name }) => name)
      .slice(0, 3)
      .join(", ")})`;
    yield { id: "L23", severity: "warning", policy: rule.policy, message, fix };
  }
}

const textOf = once((rules: readonly Rule[]) =>
  rules
    .map(({ origin, policy }) => `${policy.name} ${origin.section} ${origin.index}`)
    .sort()
    .join(),
);

/** The first rule that is in one of the lists only. */
function differenceOf(rules: readonly Rule[], others: readonly Rule[]): Rule | undefined {
  const both = new Set(rules).intersection(new Set(others));
  return [...rules, ...others].find((one) => !both.has(one));
}

const count = (pods: readonly Pods[]) => pods.reduce((sum, { endpoints }) => sum + endpoints.length, 0);

/** `app=frontned instead of app=frontend`. */
function difference(most: Pods, few: Pods): string {
  const only = (a: Pods, b: Pods) =>
    a.labels.texts.filter((text) => !b.labels.texts.includes(text)).map((text) => text.replace(/^k8s:/, ""));
  return `${only(few, most).join(", ") || "no label"} instead of ${only(most, few).join(", ") || "none"}`;
}
