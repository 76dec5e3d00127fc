import { isDeepStrictEqual } from "node:util";
import type { PodTemplateSpec } from "kubernetes-types/core/v1.js";
import type { Cluster } from "../cluster.ts";
import { type Deployment, isActive, isReady, type Pod, type ReplicaSet, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { controllerReference, hashOf, itself, ownedBy, ownedByKind } from "./owned.ts";
import { condition, timestamp, writeStatus } from "./status.ts";

const REVISION = "deployment.kubernetes.io/revision";
const HASH = "pod-template-hash";

/** Rolls each Deployment's template out through ReplicaSets. */
export function startDeployments(deps: ControllerDeps): Disposable {
  return startController(deps, {
    name: "deployment",
    sources: [itself("deployments.apps"), ownedByKind("replicasets.apps", "Deployment")],
    reconcile: (key) => reconcile(deps.cluster, key),
  });
}

function reconcile(cluster: Cluster, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const deployment = cluster.get<Deployment>("deployments.apps", name, namespace);
  if (!deployment || deployment.metadata.deletionTimestamp) return;
  const sets = ownedBy<ReplicaSet>(cluster, "replicasets.apps", deployment);
  const template = deployment.spec.template;
  const current = sets.find((set) => isDeepStrictEqual(withoutHash(set.spec.template), template));
  const others = sets.filter((set) => set !== current);
  if (!deployment.spec.paused) {
    if (deployment.spec.strategy?.type === "Recreate") recreate(cluster, deployment, current, others);
    else roll(cluster, deployment, current, others);
    removeOld(cluster, deployment, others);
  }
  report(cluster, deployment);
}

function withoutHash(template: PodTemplateSpec | undefined): PodTemplateSpec | undefined {
  if (!template?.metadata?.labels?.[HASH]) return template;
  const { [HASH]: _, ...labels } = template.metadata.labels;
  return { ...template, metadata: { ...template.metadata, labels } };
}

function recreate(cluster: Cluster, deployment: Deployment, current: ReplicaSet | undefined, others: readonly ReplicaSet[]): void {
  for (const set of others) scale(cluster, set, 0);
  const left = others.some((set) => ownedBy<Pod>(cluster, "pods", set).length > 0);
  if (left) return;
  if (current) scale(cluster, current, deployment.spec.replicas ?? 1);
  else create(cluster, deployment, others, deployment.spec.replicas ?? 1);
}

function roll(cluster: Cluster, deployment: Deployment, current: ReplicaSet | undefined, others: readonly ReplicaSet[]): void {
  const wanted = deployment.spec.replicas ?? 1;
  const { maxSurge = "25%", maxUnavailable = "25%" } = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = share(maxSurge, wanted, Math.ceil);
  const spare = surge === 0 ? Math.max(1, share(maxUnavailable, wanted, Math.floor)) : share(maxUnavailable, wanted, Math.floor);
  const old = others.reduce((sum, set) => sum + (set.spec.replicas ?? 0), 0);
  const now = current?.spec.replicas ?? 0;
  // Up: as many new pods as fit under wanted + surge.
  const target = old === 0 ? wanted : Math.max(now, Math.min(wanted, wanted + surge - old));
  if (!current) create(cluster, deployment, others, target);
  else scale(cluster, current, target);
  shrink(cluster, others, { total: old + target, target, ready: readyOf(current), least: wanted - spare });
}

interface Rollout {
  /** Pods that the ReplicaSets want together, by their specs: statuses lag behind. */
  readonly total: number;
  /** How many of them are of the new template, and how many of those are ready. */
  readonly target: number;
  readonly ready: number;
  /** As many must stay ready. */
  readonly least: number;
}

// Old pods go as new ones become ready; those that are not ready first of all.
function shrink(cluster: Cluster, others: readonly ReplicaSet[], { total, target, ready, least }: Rollout): void {
  let removable = total - least - (target - ready);
  for (const set of others.toSorted((a, b) => brokenOf(b) - brokenOf(a))) {
    const replicas = set.spec.replicas ?? 0;
    const fewer = Math.min(replicas, Math.max(0, removable));
    removable -= fewer;
    if (fewer > 0) scale(cluster, set, replicas - fewer);
  }
}

function readyOf(set: ReplicaSet | undefined): number {
  return Math.min(set?.status?.readyReplicas ?? 0, set?.spec.replicas ?? 0);
}

function brokenOf(set: ReplicaSet): number {
  return (set.spec.replicas ?? 0) - readyOf(set);
}

function share(amount: unknown, of: number, round: (value: number) => number): number {
  const text = String(amount);
  return text.endsWith("%") ? round((of * Number(text.slice(0, -1))) / 100) : Number(text);
}

function scale(cluster: Cluster, set: ReplicaSet, replicas: number): void {
  if (set.spec.replicas === replicas) return;
  cluster.patch("replicasets.apps", set.metadata.name, set.metadata.namespace, { spec: { replicas } });
}

function create(cluster: Cluster, deployment: Deployment, others: readonly ReplicaSet[], replicas: number): void {
  const { metadata, spec } = deployment;
  const hash = hashOf(spec.template);
  const revision = String(1 + Math.max(0, ...others.map((set) => Number(set.metadata.annotations?.[REVISION] ?? 0))));
  const labels = { ...spec.template.metadata?.labels, [HASH]: hash };
  cluster.create("replicasets.apps", {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${metadata.name}-${hash}`,
      namespace: metadata.namespace,
      labels,
      annotations: { [REVISION]: revision },
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      replicas,
      selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [HASH]: hash } },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  });
  cluster.patch("deployments.apps", metadata.name, metadata.namespace, { metadata: { annotations: { [REVISION]: revision } } });
}

function removeOld(cluster: Cluster, deployment: Deployment, others: readonly ReplicaSet[]): void {
  const empty = others.filter((set) => set.spec.replicas === 0 && !set.status?.replicas);
  const revision = (set: ReplicaSet) => Number(set.metadata.annotations?.[REVISION] ?? 0);
  const keep = deployment.spec.revisionHistoryLimit ?? 10;
  for (const set of empty.toSorted((a, b) => revision(b) - revision(a)).slice(keep)) {
    cluster.delete("replicasets.apps", set.metadata.name, set.metadata.namespace);
  }
}

function report(cluster: Cluster, before: Deployment): void {
  const deployment = cluster.get<Deployment>("deployments.apps", before.metadata.name, before.metadata.namespace);
  if (!deployment) return;
  const sets = ownedBy<ReplicaSet>(cluster, "replicasets.apps", deployment);
  const template = deployment.spec.template;
  const current = sets.find((set) => isDeepStrictEqual(withoutHash(set.spec.template), template));
  const pods = sets.map((set) => ownedBy<Pod>(cluster, "pods", set).filter(isActive));
  const total = pods.flat().length;
  const ready = pods.flat().filter(isReady).length;
  const updated = current ? ownedBy<Pod>(cluster, "pods", current).filter(isActive).length : 0;
  const wanted = deployment.spec.replicas ?? 1;
  const available = ready >= wanted - share(deployment.spec.strategy?.rollingUpdate?.maxUnavailable ?? "25%", wanted, Math.floor);
  const complete = updated === wanted && ready === wanted && total === wanted;
  const name = current?.metadata.name ?? "";
  const conditions = [
    available
      ? { type: "Available", status: "True", reason: "MinimumReplicasAvailable", message: "Deployment has minimum availability." }
      : {
          type: "Available",
          status: "False",
          reason: "MinimumReplicasUnavailable",
          message: "Deployment does not have minimum availability.",
        },
    complete
      ? {
          type: "Progressing",
          status: "True",
          reason: "NewReplicaSetAvailable",
          message: `ReplicaSet "${name}" has successfully progressed.`,
        }
      : { type: "Progressing", status: "True", reason: "ReplicaSetUpdated", message: `ReplicaSet "${name}" is progressing.` },
  ].map((next) => {
    const last = deployment.status?.conditions?.find((one) => one.type === next.type);
    const same = last?.status === next.status && last.reason === next.reason;
    return { ...condition(deployment.status?.conditions, next), lastUpdateTime: same ? last.lastUpdateTime : timestamp() };
  });
  writeStatus(cluster, "deployments.apps", deployment, {
    observedGeneration: deployment.metadata.generation,
    replicas: total,
    updatedReplicas: updated,
    readyReplicas: ready,
    availableReplicas: ready,
    unavailableReplicas: Math.max(0, wanted - ready),
    conditions,
  });
}
