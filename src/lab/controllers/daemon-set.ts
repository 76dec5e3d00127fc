import type { Toleration } from "kubernetes-types/core/v1.js";
import { type Cluster, unlessGone } from "../cluster.ts";
import { type DaemonSet, isActive, isFinished, isReady, keyOf, type Node, type Pod, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { hashOf, itself, ownedBy, ownedByKind, podOf } from "./owned.ts";
import { affinityAllows, selectorAllows, tolerates } from "./placement.ts";
import { writeStatus } from "./status.ts";

const HASH = "controller-revision-hash";

// What Kubernetes lets a DaemonSet's pods tolerate by themselves.
const TOLERATIONS: readonly Toleration[] = [
  { key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/unschedulable", operator: "Exists", effect: "NoSchedule" },
];
const HOST_NETWORK_TOLERATION: Toleration = { key: "node.kubernetes.io/network-unavailable", operator: "Exists", effect: "NoSchedule" };

const REQUIRED_STATUS = ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];

/** Keeps one pod of each DaemonSet on every node that its selector, affinity and tolerations allow. */
export function startDaemonSets(deps: ControllerDeps): Disposable {
  const { cluster } = deps;
  return startController(deps, {
    name: "daemonset",
    sources: [
      itself("daemonsets.apps"),
      ownedByKind("pods", "DaemonSet"),
      { resource: "nodes", keys: () => cluster.list<DaemonSet>("daemonsets.apps").items.map(keyOf) },
    ],
    reconcile: (key) => reconcile(cluster, key),
  });
}

function reconcile(cluster: Cluster, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const set = cluster.get<DaemonSet>("daemonsets.apps", name, namespace);
  if (!set || set.metadata.deletionTimestamp) return;
  const hash = hashOf(set.spec.template);
  const nodes = cluster.list<Node>("nodes").items.filter((node) => runsOn(set, node));
  const owned = ownedBy<Pod>(cluster, "pods", set);
  for (const pod of owned)
    if (isFinished(pod) && !pod.metadata.deletionTimestamp) unlessGone(() => cluster.delete("pods", pod.metadata.name, namespace));
  const byNode = Map.groupBy(owned, (pod) => pod.spec.nodeName ?? "");
  for (const node of nodes) {
    if (!byNode.get(node.metadata.name)?.length) cluster.create("pods", newPod(set, hash, node.metadata.name));
  }
  const places = new Set(nodes.map((node) => node.metadata.name));
  for (const pod of owned.filter(isActive)) {
    if (!places.has(pod.spec.nodeName ?? "")) unlessGone(() => cluster.delete("pods", pod.metadata.name, namespace));
  }
  if (set.spec.updateStrategy?.type !== "OnDelete") replaceOutdated(cluster, set, owned, hash);
  report(cluster, set, nodes, hash);
}

function newPod(set: DaemonSet, hash: string, nodeName: string) {
  const template = set.spec.template;
  const more = template.spec?.hostNetwork ? [...TOLERATIONS, HOST_NETWORK_TOLERATION] : TOLERATIONS;
  const spec = {
    ...template.spec,
    containers: template.spec?.containers ?? [],
    tolerations: [...(template.spec?.tolerations ?? []), ...more],
  };
  return podOf(set, { ...template, spec }, { labels: { [HASH]: hash }, nodeName });
}

function runsOn(set: DaemonSet, node: Node): boolean {
  const spec = set.spec.template.spec;
  const tolerations = [...(spec?.tolerations ?? []), ...TOLERATIONS, ...(spec?.hostNetwork ? [HOST_NETWORK_TOLERATION] : [])];
  const repelled = node.spec.taints?.some(
    (taint) => taint.effect !== "PreferNoSchedule" && !tolerates(tolerations, taint) && taint.key !== "node.kubernetes.io/not-ready",
  );
  return !repelled && selectorAllows(spec?.nodeSelector, node) && affinityAllows(spec?.affinity?.nodeAffinity, node);
}

// Rolling update: as many outdated pods go at once as may be unavailable.
function replaceOutdated(cluster: Cluster, set: DaemonSet, owned: readonly Pod[], hash: string): void {
  const allowed = set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1;
  const most = String(allowed).endsWith("%") ? Math.ceil((owned.length * Number.parseInt(String(allowed), 10)) / 100) : Number(allowed);
  let away = owned.filter((pod) => !isReady(pod) && pod.metadata.labels?.[HASH] === hash).length;
  for (const pod of owned.filter((one) => isActive(one) && one.metadata.labels?.[HASH] !== hash)) {
    if (isReady(pod) && away >= Math.max(1, most)) continue;
    unlessGone(() => cluster.delete("pods", pod.metadata.name, pod.metadata.namespace));
    away++;
  }
}

function report(cluster: Cluster, before: DaemonSet, nodes: readonly Node[], hash: string): void {
  const set = cluster.get<DaemonSet>("daemonsets.apps", before.metadata.name, before.metadata.namespace);
  if (!set) return;
  const pods = ownedBy<Pod>(cluster, "pods", set).filter(isActive);
  const ready = pods.filter(isReady).length;
  const status = {
    currentNumberScheduled: pods.length,
    desiredNumberScheduled: nodes.length,
    numberMisscheduled: 0,
    numberReady: ready,
    numberAvailable: ready,
    numberUnavailable: Math.max(0, nodes.length - ready),
    observedGeneration: set.metadata.generation,
    updatedNumberScheduled: pods.filter((pod) => pod.metadata.labels?.[HASH] === hash).length,
  };
  writeStatus(cluster, "daemonsets.apps", set, status, REQUIRED_STATUS);
}
