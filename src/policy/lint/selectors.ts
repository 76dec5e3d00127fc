import { reservedIdentities } from "#identity/reserved.ts";
import { labelKey, labelSource } from "#labels/label.ts";
import type { Requirement } from "#labels/selector.ts";
import { didYouMean } from "../parse/reading.ts";
import { labelPeer } from "../resolve/peer.ts";
import type { ParsedPolicy, PeerSelector, Rule } from "../rule.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { isLive, isOfNamespace, namespaceReason, namespacesIn, type Reason } from "./namespaces.ts";
import { contradiction, leftOut, misspelt, mistakenKey, written } from "./nobody.ts";
import { identitiesOf, namespaceOf, type Pods, podsByRule, taken } from "./subjects.ts";

const sources: readonly string[] = Object.values(labelSource);
const reservedNames = [...new Set(reservedIdentities().flatMap(({ labels }) => labels.labels.map(({ key }) => key)))];

/** Selectors that match nobody, and what they would have to say to match somebody. */
export function* lintSelectors(world: World, pods: readonly Pods[]): Generator<Finding> {
  for (const { parsed } of world.policies) {
    yield* unknownSources(parsed.rules);
    if (pods.length === 0) continue;
    yield* lintSubject(world, parsed, pods);
    for (const rule of parsed.rules) {
      for (const peer of rule.peers) {
        const reason = isOfPods(peer) ? emptyPeer(world, rule, peer, pods) : undefined;
        if (reason !== undefined) yield { policy: rule.policy, rule: rule.origin, ...reason };
      }
    }
  }
}

/** Whom a policy is about: nobody now, or nobody ever. */
export function* lintSubject(world: World, { ref, rules }: ParsedPolicy, pods: readonly Pods[]): Generator<Finding> {
  for (const [spec, same] of Map.groupBy(rules, ({ origin }) => origin.spec)) {
    const [first] = same;
    if (first === undefined || first.onNode || same.some((rule) => podsByRule(pods).has(rule))) continue;
    const reason = emptySubject(world, first, pods);
    if (reason !== undefined) yield { ...reason, policy: ref, path: spec > 0 ? `specs[${spec}]` : "spec" };
  }
}

/** Addresses and names have identities only once somebody talks to them, and what is reserved is always there. */
function isOfPods(peer: PeerSelector): boolean {
  if (peer.any || peer.none || peer.within !== undefined || peer.fqdn !== undefined) return false;
  return peer.requirements.length > 0 && !peer.requirements.some(({ source }) => source === "reserved" || source === "cidrgroup");
}

function* unknownSources(rules: readonly Rule[]): Generator<Finding> {
  const seen = new Set<string>();
  for (const rule of rules) {
    const at = { id: "L16", severity: "warning", policy: rule.policy, rule: rule.origin } as const;
    for (const { source, key } of [...rule.subject.requirements, ...rule.peers.flatMap((peer) => peer.requirements)]) {
      const name = source === "reserved" ? `reserved:${key}` : source;
      if (seen.has(name)) continue;
      seen.add(name);
      if (source === "reserved" && !reservedNames.includes(key)) {
        const message = `"reserved:${key}": there is no such entity${didYouMean(key, reservedNames)}`;
        yield { ...at, message, fix: `write one of ${reservedNames.join(", ")}` };
      } else if (!sources.includes(source)) {
        const message = `"${source}:${key}": nothing gives labels of the source "${source}"${didYouMean(source, sources)}`;
        yield { ...at, message, fix: "write k8s: for labels of pods, or no source" };
      }
    }
  }
}

function emptySubject(world: World, { subject: { requirements }, policy }: Rule, pods: readonly Pods[]): Reason | undefined {
  if (requirements.some(({ source, key }) => source === "reserved" && key === "host")) {
    const fix = "write nodeSelector in place of endpointSelector";
    return { id: "L05", severity: "warning", message: "selects no pod: the host is selected by nodeSelector only", fix };
  }
  // Health, ingress and init endpoints are nobody's pods.
  if (requirements.some(({ source }) => source === "reserved")) return undefined;
  const places = requirements
    .filter(({ key, operator }) => key === labelKey.namespace && operator === "In")
    .flatMap(({ values }) => values);
  // That a subject in another namespace is nobody, the parser says.
  if (policy.namespace !== "" && places.some((one) => one !== policy.namespace)) return undefined;
  const reason =
    contradiction(requirements) ??
    namespaceReason(requirements, world) ??
    leftOut(requirements, world) ??
    mistakenKey(requirements, world) ??
    misspelt(requirements, world);
  if (reason !== undefined) return { ...reason, severity: "warning", message: `selects no pod: ${reason.message}` };
  if (!isInView(world, requirements, pods)) return undefined;
  const own = written(requirements);
  const message = `selects no pod that exists now: none in ${namespacesIn(requirements)}${own === "" ? "" : ` has ${own}`}`;
  return { id: "L05", severity: "warning", message, fix: "compare the selector with `kubectl get pods --show-labels`" };
}

/** Files may well leave a namespace out, such as kube-system; then nothing is known about who is there. */
function isInView(world: World, requirements: readonly Requirement[], pods: readonly Pods[]): boolean {
  const place = requirements.find(({ key, operator }) => key === labelKey.namespace && operator === "In");
  const known = place === undefined || pods.some((pod) => place.values.includes(pod.namespace));
  return known || isLive(world);
}

function emptyPeer(world: World, rule: Rule, peer: PeerSelector, pods: readonly Pods[]): Reason | undefined {
  const { requirements } = peer;
  const isEmpty = identitiesOf(peer, world).size === 0;
  // That the policy's own namespace does not exist, its subject says.
  const isOwn = ({ key, values }: Requirement) => key === labelKey.namespace && values.length === 1 && values[0] === rule.policy.namespace;
  const elsewhere = namespaceReason(
    requirements.filter((one) => !isOwn(one)),
    world,
  );
  // Of several namespaces one may be missing, and of several values one may be misspelt, while the others are somebody.
  if (!isEmpty)
    return (
      elsewhere ??
      misspelt(
        requirements.filter(({ operator }) => operator === "NotIn"),
        world,
      )
    );
  const own = written(requirements);
  const where = namespacesIn(requirements);
  const reason =
    contradiction(requirements) ??
    elsewhere ??
    mistakenKey(requirements, world) ??
    leftOut(requirements, world) ??
    inOtherNamespace(rule, requirements, pods) ??
    (isInView(world, requirements, pods) ? misspelt(requirements, world) : undefined);
  if (reason !== undefined) return reason.id === "L06" ? reason : { ...reason, message: `the peers are nobody: ${reason.message}` };
  if (!isInView(world, requirements, pods)) return undefined;
  const message = own === "" ? `the peers are nobody: there is no pod in ${where} now` : `the peers [${own}] are nobody in ${where} now`;
  return { id: "L05", severity: "info", message, fix: "none, if they are still to come; else correct the selector" };
}

function inOtherNamespace({ policy }: Rule, requirements: readonly Requirement[], pods: readonly Pods[]): Reason | undefined {
  const own = written(requirements);
  const anywhere = labelPeer(requirements.filter((one) => !isOfNamespace(one)));
  const places = own === "" ? [] : [...new Set(taken(anywhere, pods).map(({ labels }) => namespaceOf(labels)))];
  const [first] = places.filter((one) => one !== "");
  if (first === undefined) return undefined;
  const message = `the peers [${own}] are nobody in ${namespacesIn(requirements)}, but pods in ${places.join(", ")} have these labels`;
  const fix = policy.kind.startsWith("Cilium")
    ? `add "k8s:${labelKey.namespace}: ${first}" to the selector if they are meant`
    : `write namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: ${first} } } beside the podSelector if they are meant`;
  return { id: "L06", severity: "warning", message, fix };
}
