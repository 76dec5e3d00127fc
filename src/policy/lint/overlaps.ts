import { prefixContains } from "#types/prefix.ts";
import { objectOf } from "../parse/fields.ts";
import { formatRuleRef, type PeerSelector, policyKey, type Rule, ruleKey, tier } from "../rule.ts";
import { selects } from "../selectors/selector-cache.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { specCovers } from "./moot.ts";
import { isPlain, narrows } from "./static.ts";
import { identitiesOf, type Pods } from "./subjects.ts";

/** Rules of which one makes the other moot, and policies that say the same. */
export function* lintOverlaps(world: World, pods: readonly Pods[]): Generator<Finding> {
  yield* twins(world);
  const byRule = Map.groupBy(
    pods.flatMap((pod) => pod.rules.map((rule) => ({ pod, rule }))),
    ({ rule }) => ruleKey(rule.origin),
  );
  for (const same of byRule.values()) {
    const [first] = same;
    if (first !== undefined && same.every(({ pod, rule }) => isIdle(pod, rule))) {
      const message = `allows what nothing denies: the ${first.rule.direction} of ${first.pod.name} is not under default deny`;
      const fix = "take it out, or let the policy deny by default";
      yield { id: "L10", severity: "info", policy: first.rule.policy, rule: first.rule.origin, message, fix };
      continue;
    }
    const each = same.map(({ pod, rule }) => ({ pod, finding: overlapOf(world, pod, rule) }));
    const moot = each.find(({ finding }) => finding !== undefined);
    if (moot?.finding === undefined) continue;
    // A rule that still does something for other pods is not to be taken out.
    if (each.every(({ finding }) => finding !== undefined)) yield moot.finding;
    else if (moot.finding.id === "L08") yield { ...moot.finding, message: `for pods such as ${moot.pod.name} ${moot.finding.message}` };
  }
}

/** An allow that does no more than allow, where everything is. */
function isIdle(pod: Pods, rule: Rule): boolean {
  const isPlain = rule.ports?.every(
    ({ l7, listener, serverNames }) => l7 === undefined && listener === undefined && serverNames.length === 0,
  );
  if (rule.action !== "allow" || rule.tier !== tier.normal || isPlain === false || rule.auth !== undefined) return false;
  return rule.log === undefined && !pod.policy[rule.direction].defaultDeny;
}

function* twins({ policies }: World): Generator<Finding> {
  const bySpec = new Map<string, string>();
  for (const { parsed, key, from } of policies) {
    const { spec, specs } = objectOf(from.object);
    const text = `${parsed.ref.kind}/${parsed.ref.namespace} ${JSON.stringify([spec, specs])}`;
    const other = bySpec.get(text);
    if (other === undefined) bySpec.set(text, key);
    else yield { id: "L10", severity: "info", policy: parsed.ref, message: `says the same as ${other}`, fix: "keep one of the two" };
  }
}

function portsCover(outer: Rule, inner: Rule): boolean {
  if (outer.ports === null) return true;
  if (inner.ports === null) return false;
  const specs = outer.ports.flatMap((one) => one.ports);
  return inner.ports.every((one) => one.ports.every((spec) => specs.some((other) => specCovers(other, spec))));
}

function peersCover(world: World, outer: Rule, inner: Rule): boolean {
  const wide = world.repo.peersOf(outer);
  if (wide.some((peer) => peer.any)) return true;
  return world.repo
    .peersOf(inner)
    .every((peer) => !peer.any && wide.some((other) => other.text === peer.text || containsAll(other, peer, world)));
}

/** Whether a selector takes every address outside the cluster. */
function isWorld({ requirements, except }: PeerSelector): boolean {
  const [only, second] = requirements;
  return only?.source === "reserved" && only.key === "world" && second === undefined && except.length === 0;
}

function containsAll(outer: PeerSelector, inner: PeerSelector, world: World): boolean {
  if (inner.fqdn !== undefined) return isWorld(outer);
  if (inner.within !== undefined) {
    const inside = outer.within !== undefined && outer.except.length === 0 && prefixContains(outer.within, inner.within);
    return inside || (isWorld(outer) && world.settings.policyCidrMatchMode.length === 0);
  }
  const ids = identitiesOf(inner, world);
  if (ids.length === 0) return false;
  return ids.every((id) => {
    const labels = world.cache.labels(id);
    return labels !== undefined && selects(outer, labels, world.cache.prefix(id));
  });
}

/** What another rule of the same pod makes moot in a rule. */
function overlapOf(world: World, pod: Pods, inner: Rule): Finding | undefined {
  if (inner.action !== "allow" || world.repo.peersOf(inner).length === 0) return undefined;
  for (const outer of pod.rules) {
    if (outer === inner || outer.direction !== inner.direction || outer.tier !== inner.tier) continue;
    if (world.repo.peersOf(outer).length === 0 || !portsCover(outer, inner) || !peersCover(world, outer, inner)) continue;
    const finding = overlap(outer, inner, world);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

function overlap(outer: Rule, inner: Rule, { repo }: World): Finding | undefined {
  const at = { policy: inner.policy, rule: inner.origin };
  const other = formatRuleRef(outer.origin);
  if (outer.action === "deny") {
    const message = `never has an effect: ${other} denies all of it`;
    return { id: "L09", severity: "warning", ...at, message, fix: "narrow the deny, or take this rule out: a deny beats every allow" };
  }
  if (outer.action !== "allow" || outer.ports?.every(isPlain) === false) return undefined;
  if (inner.ports?.some(narrows) === true) {
    if (inner.l7Merge === "restrict") return undefined;
    const message = `its application rules are moot: ${other} allows the same peers the same ports without any`;
    return {
      id: "L08",
      severity: "warning",
      ...at,
      message,
      fix: "take the peers or the ports out of the wider rule, or annotate the policy with policy.cilium.io/l7-merge: restrict",
    };
  }
  // A DNS rule is there to learn addresses, which it does beside a wider allow too.
  if (inner.ports?.every(isPlain) === false) return undefined;
  // Of two that are alike only one is said to be too many.
  if (portsCover(inner, outer) && peersAlike(inner, outer, repo) && rank(inner) < rank(outer)) return undefined;
  return { id: "L10", severity: "info", ...at, message: `adds nothing to ${other}`, fix: "take it out" };
}

const peersAlike = (a: Rule, b: Rule, repo: World["repo"]) => {
  const texts = (rule: Rule) =>
    repo
      .peersOf(rule)
      .map((peer) => peer.text)
      .sort()
      .join();
  return texts(a) === texts(b);
};

const rank = (rule: Rule) => `${policyKey(rule.origin)}#${rule.origin.spec}.${String(rule.origin.index).padStart(5, "0")}`;
