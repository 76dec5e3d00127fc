import { type Cluster, unlessGone } from "../cluster.ts";
import { isActive, isFinished, isReady, type Pod, type StatefulSet, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { hashOf, itself, ownedBy, ownedByKind, podOf } from "./owned.ts";
import { writeStatus } from "./status.ts";

const HASH = "controller-revision-hash";

/** Keeps the numbered pods of each StatefulSet, in order. Volume claims are not served. */
export function startStatefulSets(deps: ControllerDeps): Disposable {
  return startController(deps, {
    name: "statefulset",
    sources: [itself("statefulsets.apps"), ownedByKind("pods", "StatefulSet")],
    reconcile: (key) => reconcile(deps.cluster, key),
  });
}

function reconcile(cluster: Cluster, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const set = cluster.get<StatefulSet>("statefulsets.apps", name, namespace);
  if (!set || set.metadata.deletionTimestamp) return;
  const hash = `${name}-${hashOf(set.spec.template)}`;
  const pods = new Map(ownedBy<Pod>(cluster, "pods", set).map((pod) => [pod.metadata.name, pod]));
  step(cluster, set, pods, hash);
  const current = cluster.get<StatefulSet>("statefulsets.apps", name, namespace);
  if (!current) return;
  const active = ownedBy<Pod>(cluster, "pods", set).filter(isActive);
  const ready = active.filter(isReady).length;
  const updated = active.filter((pod) => pod.metadata.labels?.[HASH] === hash).length;
  const status = {
    replicas: active.length,
    readyReplicas: ready,
    availableReplicas: ready,
    updatedReplicas: updated,
    currentReplicas: updated,
    currentRevision: hash,
    updateRevision: hash,
    observedGeneration: set.metadata.generation,
  };
  writeStatus(cluster, "statefulsets.apps", current, status, ["replicas"]);
}

// One change at a time, unless the set says Parallel: the next pod only when the one before is ready.
function step(cluster: Cluster, set: StatefulSet, pods: ReadonlyMap<string, Pod>, hash: string): void {
  const { name } = set.metadata;
  const wanted = set.spec.replicas ?? 1;
  const parallel = set.spec.podManagementPolicy === "Parallel";
  for (let ordinal = 0; ordinal < wanted; ordinal++) {
    const pod = pods.get(`${name}-${ordinal}`);
    if (!pod) create(cluster, set, ordinal, hash);
    else if (isFinished(pod)) remove(cluster, pod);
    if (!parallel && (!pod || !isActive(pod) || !isReady(pod))) return;
  }
  const surplus = [...pods.values()].filter((pod) => ordinalOf(pod) >= wanted).toSorted((a, b) => ordinalOf(b) - ordinalOf(a));
  for (const pod of parallel ? surplus : surplus.slice(0, 1)) remove(cluster, pod);
  if (surplus.length > 0 || set.spec.updateStrategy?.type === "OnDelete") return;
  const outdated = [...pods.values()].filter((pod) => pod.metadata.labels?.[HASH] !== hash);
  const last = outdated.toSorted((a, b) => ordinalOf(b) - ordinalOf(a))[0];
  if (last) remove(cluster, last);
}

function ordinalOf(pod: Pod): number {
  return Number(pod.metadata.name.slice(pod.metadata.name.lastIndexOf("-") + 1));
}

function remove(cluster: Cluster, pod: Pod): void {
  if (!pod.metadata.deletionTimestamp) unlessGone(() => cluster.delete("pods", pod.metadata.name, pod.metadata.namespace));
}

function create(cluster: Cluster, set: StatefulSet, ordinal: number, hash: string): void {
  const name = `${set.metadata.name}-${ordinal}`;
  const labels = { [HASH]: hash, "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": String(ordinal) };
  const spec = {
    containers: [],
    ...set.spec.template.spec,
    hostname: name,
    ...(set.spec.serviceName ? { subdomain: set.spec.serviceName } : {}),
  };
  cluster.create("pods", podOf(set, { ...set.spec.template, spec }, { name, labels }));
}
