import { unlessGone } from "../cluster.ts";
import { isActive, isReady, type Pod, type ReplicaSet, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { byWorth, itself, ownedBy, ownedByKind, podOf } from "./owned.ts";
import { writeStatus } from "./status.ts";

/** Keeps as many pods as each ReplicaSet wants. */
export function startReplicaSets(deps: ControllerDeps): Disposable {
  return startController(deps, {
    name: "replicaset",
    sources: [itself("replicasets.apps"), ownedByKind("pods", "ReplicaSet")],
    reconcile: (key) => reconcile(deps, key),
  });
}

function reconcile({ cluster }: ControllerDeps, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const set = cluster.get<ReplicaSet>("replicasets.apps", name, namespace);
  if (!set) return;
  const pods = ownedBy<Pod>(cluster, "pods", set).filter(isActive);
  const wanted = set.spec.replicas ?? 1;
  if (!set.metadata.deletionTimestamp) {
    for (let missing = wanted - pods.length; missing > 0; missing--) cluster.create("pods", podOf(set, set.spec.template ?? {}));
    for (const pod of pods.toSorted(byWorth).slice(0, Math.max(0, pods.length - wanted))) {
      unlessGone(() => cluster.delete("pods", pod.metadata.name, namespace));
    }
  }
  const ready = pods.filter(isReady).length;
  const current = cluster.get<ReplicaSet>("replicasets.apps", name, namespace);
  if (!current) return;
  const status = {
    replicas: ownedBy<Pod>(cluster, "pods", set).filter(isActive).length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: ready,
    availableReplicas: ready,
    observedGeneration: set.metadata.generation,
  };
  writeStatus(cluster, "replicasets.apps", current, status, ["replicas"]);
}
