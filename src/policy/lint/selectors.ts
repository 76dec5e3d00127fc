import { labelKey, labelSource } from "#labels/label.ts";
import { type Requirement, selectorOf } from "#labels/selector.ts";
import { didYouMean } from "../reading.ts";
import type { PeerSelector, Rule } from "../rule.ts";
import { clusterSource } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { identitiesOf, namespaceOf, type Pods } from "./subjects.ts";

const sources: readonly string[] = Object.values(labelSource);

/** Selectors that match nobody, and what they would have to say to match somebody. */
export function* lintSelectors(world: World, pods: readonly Pods[]): Generator<Finding> {
  for (const { parsed } of world.policies) {
    yield* unknownSources(parsed.rules);
    if (pods.length === 0 || parsed.rules.length === 0) continue;
    const [first] = parsed.rules;
    const selected = pods.some((pod) => pod.rules.some((rule) => rule.policy === parsed.ref));
    if (!selected && first !== undefined && !parsed.rules.some((rule) => rule.onNode)) yield emptySubject(first, pods);
    for (const rule of parsed.rules) {
      for (const peer of world.repo.peersOf(rule)) {
        // Addresses and names have identities only once somebody talks to them.
        const isLabels = !peer.any && !peer.none && peer.within === undefined && peer.fqdn === undefined && peer.requirements.length > 0;
        if (isLabels && !isReserved(peer) && identitiesOf(peer, world).length === 0) yield* emptyPeer(world, rule, peer, pods);
      }
    }
  }
}

const isReserved = (peer: PeerSelector) => peer.requirements.some(({ source }) => source === "reserved" || source === "cidrgroup");

/** Files may well leave a namespace out, such as kube-system; then nothing is known about who is there. */
function isInView({ objects }: World, peer: PeerSelector, pods: readonly Pods[]): boolean {
  const namespace = namespaceIn(peer);
  return (
    namespace === undefined || pods.some((pod) => pod.namespace === namespace) || objects.some(({ source }) => source === clusterSource)
  );
}

function* unknownSources(rules: readonly Rule[]): Generator<Finding> {
  const seen = new Set<string>();
  for (const rule of rules) {
    for (const { source, key } of [...rule.subject.requirements, ...rule.peers.flatMap((peer) => peer.requirements)]) {
      if (sources.includes(source) || seen.has(source)) continue;
      seen.add(source);
      const message = `"${source}:${key}": nothing gives labels of the source "${source}"${didYouMean(source, sources)}`;
      yield {
        id: "L16",
        severity: "warning",
        policy: rule.policy,
        rule: rule.origin,
        message,
        fix: "write k8s: for labels of pods, or no source",
      };
    }
  }
}

function emptySubject(rule: Rule, pods: readonly Pods[]): Finding {
  const near = misspelt(rule.subject.requirements, pods);
  const at = { policy: rule.policy, path: rule.origin.spec > 0 ? `specs[${rule.origin.spec}]` : "spec" };
  if (near !== undefined) return { id: "L16", severity: "warning", ...at, message: `selects no pod: ${near.message}`, fix: near.fix };
  const message = `selects no pod that exists now: none has ${own(rule.subject.requirements) || "any labels"}`;
  return { id: "L05", severity: "warning", ...at, message, fix: "compare the selector with `kubectl get pods --show-labels`" };
}

function* emptyPeer(world: World, rule: Rule, peer: PeerSelector, pods: readonly Pods[]): Generator<Finding> {
  const at = { policy: rule.policy, rule: rule.origin };
  const written = own(peer.requirements);
  const anywhere = { ...peer, requirements: peer.requirements.filter((one) => one.key !== labelKey.namespace) };
  const elsewhere = written === "" ? [] : identitiesOf(anywhere, world).map((id) => namespaceOf(world.cache.labels(id)));
  const [first] = elsewhere;
  if (first !== undefined) {
    const where = [...new Set(elsewhere)].join(", ");
    const message = `the peers [${written}] are nobody in ${namespaceIn(peer) ?? "any namespace"}, but pods in ${where} have these labels`;
    const fix = `add "k8s:${labelKey.namespace}: ${first}" to the selector if they are meant`;
    yield { id: "L06", severity: "warning", ...at, message, fix };
    return;
  }
  if (!isInView(world, peer, pods)) return;
  const near = misspelt(peer.requirements, pods);
  if (near !== undefined) yield { id: "L16", severity: "warning", ...at, message: `the peers are nobody: ${near.message}`, fix: near.fix };
  else {
    const message = `the peers [${written}] are nobody who exists now`;
    yield { id: "L05", severity: "info", ...at, message, fix: "none, if they are still to come; else correct the selector" };
  }
}

/** The requirements that the author wrote, in kubectl's notation. */
function own(requirements: readonly Requirement[]): string {
  const written = requirements.filter(({ key }) => !key.startsWith("io.cilium.") && key !== labelKey.namespace);
  return written.length === 0 ? "" : selectorOf(written).text;
}

function namespaceIn(peer: PeerSelector): string | undefined {
  return peer.requirements.find((one) => one.key === labelKey.namespace && one.operator === "In")?.values[0];
}

/** A key or value that no pod has while another has one that is nearly the same. */
function misspelt(
  requirements: readonly Requirement[],
  pods: readonly Pods[],
): { readonly message: string; readonly fix: string } | undefined {
  const labels = pods.flatMap((pod) => pod.labels.labels.filter(({ source }) => source === "k8s"));
  for (const { key, operator, values } of requirements) {
    if (key.startsWith("io.cilium.") || operator === "NotIn" || operator === "DoesNotExist") continue;
    const known = [...new Set(labels.filter((one) => one.key === key).map(({ value }) => value))];
    if (known.length === 0) {
      const hint = didYouMean(
        key,
        [...new Set(labels.map((one) => one.key))].filter((one) => !one.startsWith("io.")),
      );
      if (hint !== "") return { message: `no pod has a label "${key}"${hint}`, fix: "correct the key" };
    }
    for (const value of values.filter((one) => !known.includes(one))) {
      const hint = didYouMean(value, known);
      if (hint !== "") return { message: `no pod has ${key}=${value}${hint}`, fix: "correct the value, or the pods' label" };
    }
  }
  return undefined;
}
