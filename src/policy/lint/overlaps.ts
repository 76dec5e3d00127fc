import { prefixContains } from "#types/prefix.ts";
import { objectOf } from "../parse/fields.ts";
import { beats, formatRuleRef, levelOf, type PeerSelector, policyKey, type Rule, ruleKey, tier } from "../rule.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { specCovers } from "./moot.ts";
import { type Entry, isWorld, RuleIndex } from "./rule-index.ts";
import { isPlain, narrows } from "./static.ts";
import { differentlyRuled, identitiesOf, type Pods } from "./subjects.ts";

/** Rules of which one makes the other moot, and policies that say the same. */
export function* lintOverlaps(world: World, pods: readonly Pods[]): Generator<Finding> {
  yield* twins(world);
  const found = differentlyRuled(pods).flatMap((pod) => {
    const findings = overlapsOf(world, pod);
    return pod.rules.map((rule) => ({ pod, rule, finding: findings.get(rule) }));
  });
  const byRule = Map.groupBy(found, ({ rule }) => ruleKey(rule.origin));
  for (const same of byRule.values()) {
    const [first] = same;
    if (first !== undefined && same.every(({ pod, rule }) => isIdle(pod, rule))) {
      const message = `allows what nothing denies: the ${first.rule.direction} of ${first.pod.name} is not under default deny`;
      const fix = "take it out, or let the policy deny by default";
      yield { id: "L10", severity: "info", policy: first.rule.policy, rule: first.rule.origin, message, fix };
      continue;
    }
    const moot = same.find(({ finding }) => finding !== undefined);
    if (moot?.finding === undefined) continue;
    // A rule that still does something for other pods is not to be taken out.
    if (same.every(({ finding }) => finding !== undefined)) yield moot.finding;
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

function portsCover(outer: Entry, inner: Entry): boolean {
  if (outer.specs === null) return true;
  return inner.specs?.every((spec) => outer.specs?.some((other) => specCovers(other, spec))) === true;
}

function peersCover(world: World, outer: Entry, inner: Entry): boolean {
  if (outer.peers.some((peer) => peer.any)) return true;
  return inner.peers.every((peer) => !peer.any && outer.peers.some((other) => other.text === peer.text || containsAll(other, peer, world)));
}

function containsAll(outer: PeerSelector, inner: PeerSelector, world: World): boolean {
  if (inner.fqdn !== undefined) return isWorld(outer);
  if (inner.within !== undefined) {
    const inside = outer.within !== undefined && outer.except.length === 0 && prefixContains(outer.within, inner.within);
    return inside || (isWorld(outer) && world.settings.policyCidrMatchMode.length === 0);
  }
  const ids = identitiesOf(inner, world);
  return ids.size > 0 && new Set(ids).isSubsetOf(identitiesOf(outer, world));
}

/** What other rules of the same pod make moot in each of its rules. */
function overlapsOf(world: World, { rules }: Pods): Map<Rule, Finding> {
  const found = new Map<Rule, Finding>();
  for (const ofDirection of Map.groupBy(rules, ({ direction }) => direction).values()) {
    const index = new RuleIndex(ofDirection, world);
    for (const inner of index.entries) {
      const finding = overlapOf(world, index, inner);
      if (finding !== undefined) found.set(inner.rule, finding);
    }
  }
  return found;
}

function overlapOf(world: World, index: RuleIndex, inner: Entry): Finding | undefined {
  for (const outer of index.around(inner)) {
    if (outer.rule === inner.rule || !portsCover(outer, inner) || !peersCover(world, outer, inner)) continue;
    const finding = beats(outer.rule, inner.rule) ? beaten(outer.rule, inner.rule, index) : besideAllow(outer, inner, index);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

const at = ({ policy, origin }: Rule) => ({ policy, rule: origin });

/** A rule all of whose traffic is decided before its turn. */
function beaten(outer: Rule, inner: Rule, { ranks }: RuleIndex): Finding | undefined {
  // Somebody may have been passed by the stronger rule to the tier of the weaker one.
  const passesBy = (rule: Rule) => rule.action === "pass" && rule.tier === outer.tier && !beats(outer, rule);
  if (outer.tier !== inner.tier && ranks.some(passesBy)) return undefined;
  if (outer.action === inner.action && inner.ports?.some(narrows) !== true) return tooMany(outer, inner);
  const does = { deny: "denies", allow: "allows", pass: "passes on" }[outer.action];
  const isFirst = levelOf(outer) < levelOf(inner);
  const keeps = inner.defaultDeny && !outer.defaultDeny ? " (`{}` in its place keeps the default deny)" : "";
  const why = isFirst ? "what is first in tier, priority and order decides" : "a deny beats every allow";
  const message = `never has an effect: ${formatRuleRef(outer.origin)} ${does} all of it${isFirst ? " first" : ""}`;
  const fix = `narrow ${isFirst ? "that one" : "the deny"}, or take this rule out${keeps}: ${why}`;
  return { id: "L09", severity: "warning", ...at(inner), message, fix };
}

/** An allow beside another one that covers it and is as strong, or weaker with nothing between them. */
function besideAllow(wide: Entry, narrow: Entry, { ranks }: RuleIndex): Finding | undefined {
  const [outer, inner] = [wide.rule, narrow.rule];
  if (outer.action !== "allow" || inner.action !== "allow" || outer.ports?.every(isPlain) === false) return undefined;
  if (ranks.some((rule) => rule.action !== "allow" && beats(rule, outer) && !beats(rule, inner))) return undefined;
  if (inner.ports?.some(narrows) === true) {
    if (inner.l7Merge === "restrict" || beats(inner, outer)) return undefined;
    const message = `its application rules are moot: ${formatRuleRef(outer.origin)} allows the same peers the same ports without any`;
    const fix = "take the peers or the ports out of the wider rule, or annotate the policy with policy.cilium.io/l7-merge: restrict";
    return { id: "L08", severity: "warning", ...at(inner), message, fix };
  }
  // Of two that are alike only one is said to be too many.
  const alike = textsOf(wide.peers) === textsOf(narrow.peers) && portsCover(narrow, wide);
  return alike && rank(inner) < rank(outer) ? undefined : tooMany(outer, inner);
}

function tooMany(outer: Rule, inner: Rule): Finding | undefined {
  // A DNS rule is there to learn addresses, which it does beside a wider allow too; and a rule may be there for the default deny.
  if (inner.ports?.every(isPlain) === false || outer.ports?.every(isPlain) === false || (inner.defaultDeny && !outer.defaultDeny))
    return undefined;
  return { id: "L10", severity: "info", ...at(inner), message: `adds nothing to ${formatRuleRef(outer.origin)}`, fix: "take it out" };
}

const textsOf = (peers: readonly PeerSelector[]) =>
  peers
    .map((peer) => peer.text)
    .sort()
    .join();

const rank = (rule: Rule) => `${policyKey(rule.origin)}#${rule.origin.spec}.${String(rule.origin.index).padStart(5, "0")}`;
