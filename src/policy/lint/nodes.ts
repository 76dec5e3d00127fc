import { label, labelKey, labelSource } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { matches, type Requirement, selectorOf } from "#labels/selector.ts";
import { didYouMean } from "../parse/reading.ts";
import type { PeerSelector, Rule } from "../rule.ts";
import { selects } from "../selectors/selector-cache.ts";
import { configOf } from "../world/settings.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** Policies of nodes, and peers that are nodes, which no node is; and those that a setting switches off. */
export function* lintNodes(world: World): Generator<Finding> {
  const knowsSettings = Object.keys(configOf(world.objects).data).length > 0;
  for (const { parsed } of world.policies) {
    for (const rules of Map.groupBy(parsed.rules, ({ origin }) => origin.spec).values()) {
      const [first] = rules;
      if (first === undefined || !first.onNode) continue;
      yield* emptySubject(first, world);
      if (world.settings.hostFirewall || !knowsSettings) continue;
      const message = "has no effect: the host firewall is off, so no policy applies to nodes";
      yield { id: "L33", severity: "warning", policy: parsed.ref, message, fix: "set enable-host-firewall: true" };
    }
    for (const rule of parsed.rules) for (const peer of rule.peers) yield* emptyPeer(rule, peer, world);
  }
}

function* emptySubject({ subject, policy, origin }: Rule, { nodes }: World): Generator<Finding> {
  if (nodes.length === 0 || nodes.some(({ labels }) => matches(subject, labels))) return;
  const path = origin.spec > 0 ? `specs[${origin.spec}].nodeSelector` : "spec.nodeSelector";
  yield { ...nobody(subject.requirements, nodes, "selects no node"), policy, path };
}

/** The labels of a node as peers see it: as those of a remote node. */
const remote = (labels: World["nodes"][number]["labels"], clusterName: string) =>
  labelSetOf([
    ...labels.labels.flatMap(({ key, value, source }) => (source === labelSource.k8s ? [label(key, value, labelSource.node)] : [])),
    label("remote-node", "", labelSource.reserved),
    label(labelKey.cluster, clusterName),
  ]);

function* emptyPeer(rule: Rule, peer: PeerSelector, { nodes, settings }: World): Generator<Finding> {
  const own = peer.requirements.filter(({ source, key }) => source !== "reserved" && key !== labelKey.cluster);
  const isOfNodes = peer.requirements.some(({ source, key }) => source === "reserved" && key === "remote-node");
  if (!isOfNodes || own.length === 0 || nodes.length === 0) return;
  if (nodes.some(({ labels }) => selects(peer, remote(labels, settings.clusterName), undefined))) return;
  yield { ...nobody(own, nodes, "the peers are nobody"), policy: rule.policy, rule: rule.origin };
}

function nobody(
  requirements: readonly Requirement[],
  nodes: World["nodes"],
  what: string,
): Pick<Finding, "id" | "severity" | "message" | "fix"> {
  const labels = nodes.flatMap((one) => one.labels.labels.filter(({ source }) => source === labelSource.k8s));
  const fix = "compare the selector with `kubectl get nodes --show-labels`";
  for (const { key, operator, values } of requirements) {
    if (operator !== "In" && operator !== "Exists") continue;
    const known = [...new Set(labels.filter((one) => one.key === key).map(({ value }) => value))];
    const near = known.length === 0 ? didYouMean(key, [...new Set(labels.map((one) => one.key))]) : didYouMean(values[0] ?? "", known);
    if (operator === "In" && known.length > 0 && !values.some((one) => known.includes(one))) {
      const shown = known.slice(0, 3).map((one) => JSON.stringify(one));
      const message = `${what}: no node has ${key}=${values.join("|")}, they have ${shown.join(", ")}${near}`;
      return { id: near === "" ? "L05" : "L16", severity: "warning", message, fix: "correct the value" };
    }
    if (near !== "" && known.length === 0)
      return { id: "L16", severity: "warning", message: `${what}: no node has a label "${key}"${near}`, fix: "correct the key" };
  }
  return { id: "L05", severity: "warning", message: `${what}: no node has ${selectorOf(requirements).text}`, fix };
}
