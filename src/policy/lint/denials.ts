import type { ParsedPolicy, Rule } from "../rule.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { once } from "./once.ts";
import { type Pods, podsByRule } from "./subjects.ts";

/** The directions in which rules allow something. */
const allowed = once(
  (rules: readonly Rule[]) => new Set(rules.filter(({ action }) => action === "allow").map(({ direction }) => direction)),
);

/** Policies that deny something, switch default deny on by that, and so cut off what nobody allows. */
export function* lintDenials({ policies }: World, pods: readonly Pods[]): Generator<Finding> {
  for (const { parsed } of policies) {
    for (const rule of firstDenials(parsed)) {
      const selected = podsByRule(pods).get(rule) ?? [];
      const open = (rules: readonly Rule[]) => allowed(rules).has(rule.direction);
      const cut = selected.find((pod) => !open(pod.rules));
      if (selected.length > 0 ? cut === undefined : open(parsed.rules)) continue;
      const whom = cut === undefined ? "the pods" : cut.name;
      const message = `denies everything else too: a denial switches default deny on, and no rule allows ${whom} any ${rule.direction}`;
      const peers = rule.direction === "ingress" ? "fromEntities" : "toEntities";
      const fix = `add \`${rule.direction}: [{${peers}: [all]}]\`, or \`enableDefaultDeny: {${rule.direction}: false}\``;
      yield { id: "L32", severity: "warning", policy: parsed.ref, rule: rule.origin, message, fix };
    }
  }
}

/** The first denial of each direction, unless it says nothing but that: `ingressDeny: [{}]` is there for the default deny. */
function firstDenials({ rules }: ParsedPolicy): Rule[] {
  const denials = rules.filter(({ action, defaultDeny, peers }) => action === "deny" && defaultDeny && peers.length > 0);
  return denials.filter((rule, i) => denials.findIndex(({ direction }) => direction === rule.direction) === i);
}
