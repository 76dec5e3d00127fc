import type { TopologySpreadConstraint } from "kubernetes-types/core/v1.js";
import { type Cluster, hasStatus } from "../cluster.ts";
import { type EventRecorder, recordEvent } from "../events.ts";
import { isFinished, keyOf, type Node, type Pod, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { controllerOf } from "./owned.ts";
import { affinityAllows, affinityScore, selectorAllows, tolerates } from "./placement.ts";
import { condition } from "./status.ts";

const SCHEDULER: EventRecorder = { component: "default-scheduler" };

/** Gives every pod without a node one: what its selector, affinity, tolerations and spreading rules allow, where fewest like it run. */
export function startScheduler(deps: ControllerDeps): Disposable {
  const { cluster } = deps;
  const pending = () => cluster.list<Pod>("pods", { fieldSelector: "spec.nodeName=" }).items.map(keyOf);
  return startController(deps, {
    name: "scheduler",
    sources: [
      { resource: "pods", keys: (pod) => [keyOf(pod)] },
      { resource: "nodes", keys: pending },
    ],
    reconcile: (key) => schedule(cluster, key),
  });
}

function schedule(cluster: Cluster, key: string): number | undefined {
  const { namespace, name } = splitKey(key);
  const pod = cluster.get<Pod>("pods", name, namespace);
  if (!pod || pod.spec.nodeName || pod.metadata.deletionTimestamp || isFinished(pod)) return undefined;
  const nodes = cluster.list<Node>("nodes").items;
  const others = cluster.list<Pod>("pods").items.filter((one) => one.spec.nodeName && !isFinished(one));
  const verdicts = nodes.map((node) => ({ node, reason: whyNot(pod, node, nodes, others) }));
  const possible = verdicts.filter(({ reason }) => reason === undefined).map(({ node }) => node);
  const best = possible.map((node) => ({ node, score: score(pod, node, others) })).toSorted((a, b) => b.score - a.score)[0];
  if (!best)
    return refuse(
      cluster,
      pod,
      verdicts.map(({ reason }) => reason ?? ""),
    );
  bind(cluster, pod, best.node.metadata.name);
  return undefined;
}

function whyNot(pod: Pod, node: Node, nodes: readonly Node[], others: readonly Pod[]): string | undefined {
  if (node.spec.unschedulable) return "node(s) were unschedulable";
  const taint = node.spec.taints?.find((one) => one.effect !== "PreferNoSchedule" && !tolerates(pod.spec.tolerations, one));
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`;
  if (!selectorAllows(pod.spec.nodeSelector, node) || !affinityAllows(pod.spec.affinity?.nodeAffinity, node)) {
    return "node(s) didn't match Pod's node affinity/selector";
  }
  const antiAffinity = pod.spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const near = (topology: string) => others.filter((one) => sameTopology(topology, node, nodes, one));
  if (antiAffinity.some((term) => near(term.topologyKey).some((one) => matchesLabels(term.labelSelector?.matchLabels, one, pod)))) {
    return "node(s) didn't match pod anti-affinity rules";
  }
  const spread = (pod.spec.topologySpreadConstraints ?? []).find(
    (one) => one.whenUnsatisfiable === "DoNotSchedule" && skewed(one, pod, node, nodes, others),
  );
  return spread ? "node(s) didn't match pod topology spread constraints" : undefined;
}

function sameTopology(key: string, node: Node, nodes: readonly Node[], pod: Pod): boolean {
  const of = (one: Node | undefined) => one?.metadata.labels?.[key];
  return of(node) !== undefined && of(node) === of(nodes.find((one) => one.metadata.name === pod.spec.nodeName));
}

function matchesLabels(labels: Readonly<Record<string, string>> | undefined, candidate: Pod, pod: Pod): boolean {
  if (!labels || candidate.metadata.namespace !== pod.metadata.namespace) return false;
  return Object.entries(labels).every(([key, value]) => candidate.metadata.labels?.[key] === value);
}

function skewed(constraint: TopologySpreadConstraint, pod: Pod, node: Node, nodes: readonly Node[], others: readonly Pod[]): boolean {
  const count = (candidate: Node) =>
    others.filter(
      (one) =>
        sameTopology(constraint.topologyKey, candidate, nodes, one) && matchesLabels(constraint.labelSelector?.matchLabels, one, pod),
    ).length;
  return count(node) + 1 - Math.min(...nodes.map(count)) > constraint.maxSkew;
}

const SIBLING_WEIGHT = 100;
const NEIGHBOUR_WEIGHT = 10;
const ANTI_AFFINITY_WEIGHT = 10;

// More is better: few siblings, then few pods of the same namespace, then few pods at all. Nobody says here how much a pod needs, so what
// belongs together is spread as if all of it needed the same.
function score(pod: Pod, node: Node, others: readonly Pod[]): number {
  const here = others.filter((one) => one.spec.nodeName === node.metadata.name);
  const owner = controllerOf(pod)?.uid;
  const siblings = owner ? here.filter((one) => controllerOf(one)?.uid === owner).length : 0;
  const neighbours = here.filter((one) => one.metadata.namespace === pod.metadata.namespace).length;
  const preferred = pod.spec.affinity?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const avoided = preferred.filter(({ podAffinityTerm }) =>
    here.some((one) => matchesLabels(podAffinityTerm.labelSelector?.matchLabels, one, pod)),
  );
  const crowd = siblings * SIBLING_WEIGHT + neighbours * NEIGHBOUR_WEIGHT + here.length;
  return affinityScore(pod.spec.affinity?.nodeAffinity, node) - avoided.length * ANTI_AFFINITY_WEIGHT - crowd;
}

function bind(cluster: Cluster, pod: Pod, node: string): void {
  const { name, namespace } = pod.metadata;
  const scheduled = condition(pod.status?.conditions, { type: "PodScheduled", status: "True" });
  const bound = cluster.patch<Pod>("pods", name, namespace, { spec: { nodeName: node } });
  const others = bound.status?.conditions?.filter((one) => one.type !== "PodScheduled") ?? [];
  cluster.update("pods", { ...bound, status: { ...bound.status, conditions: [...others, scheduled] } }, { subresource: "status" });
  recordEvent(cluster, SCHEDULER, bound, "Normal", "Scheduled", `Successfully assigned ${namespace}/${name} to ${node}`);
}

function refuse(cluster: Cluster, pod: Pod, reasons: readonly string[]): undefined {
  const counts = [...Map.groupBy(reasons, (reason) => reason)].map(([reason, all]) => `${all.length} ${reason}`);
  const message = `0/${reasons.length} nodes are available: ${counts.join(", ")}.`;
  const before = pod.status?.conditions?.find((one) => one.type === "PodScheduled");
  if (before?.message === message) return;
  const next = condition(pod.status?.conditions, { type: "PodScheduled", status: "False", reason: "Unschedulable", message });
  try {
    cluster.update("pods", { ...pod, status: { ...pod.status, phase: "Pending", conditions: [next] } }, { subresource: "status" });
    recordEvent(cluster, SCHEDULER, pod, "Warning", "FailedScheduling", message);
  } catch (thrown) {
    if (!hasStatus(thrown, 404, 409)) throw thrown;
  }
}
