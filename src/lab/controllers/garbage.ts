import { type Cluster, hasStatus } from "../cluster.ts";
import type { AnyObject } from "../objects.ts";
import type { ControllerDeps } from "./controller.ts";

// Kinds that own or are owned. Those of CustomResourceDefinitions join when these are established.
const RESOURCES = [
  "pods",
  "services",
  "configmaps",
  "secrets",
  "serviceaccounts",
  "nodes",
  "endpoints",
  "replicasets.apps",
  "deployments.apps",
  "daemonsets.apps",
  "statefulsets.apps",
  "jobs.batch",
  "endpointslices.discovery.k8s.io",
  "networkpolicies.networking.k8s.io",
];

interface CustomResourceDefinition extends AnyObject {
  readonly spec: { readonly group: string; readonly names: { readonly plural: string; readonly kind: string } };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

interface Entry {
  readonly resource: string;
  readonly object: AnyObject;
}

/** Deletes what no owner holds any more, and serves foreground and orphan deletion. */
export function startGarbageCollection({ cluster, log }: ControllerDeps): Disposable {
  const entries = new Map<string, Entry>();
  const kinds = new Set<string>();
  const watched = new Map<string, Disposable>();
  const synced = new Set<string>();
  const due = new Set<string>();
  let scheduled = false;

  const later = (uid: string) => {
    due.add(uid);
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      const uids = [...due];
      due.clear();
      for (const one of uids) tryCollect(one);
    });
  };
  const tryCollect = (uid: string) => {
    const entry = entries.get(uid);
    if (!entry) return;
    try {
      collect(cluster, entry, entries, kinds);
    } catch (thrown) {
      if (hasStatus(thrown, 404, 409)) return;
      log.warn("could not collect garbage", { name: entry.object.metadata.name, error: String(thrown) });
    }
  };
  const dependants = (uid: string) =>
    [...entries].filter(([, { object }]) => object.metadata.ownerReferences?.some((owner) => owner.uid === uid)).map(([key]) => key);
  const watch = (resource: string) => {
    if (watched.has(resource)) return;
    watched.set(
      resource,
      cluster.watch<AnyObject>(resource, {
        onEvent: ({ type, object }) => {
          const { uid } = object.metadata;
          if (type === "DELETED") {
            entries.delete(uid);
            for (const owner of object.metadata.ownerReferences ?? []) later(owner.uid);
            for (const dependant of dependants(uid)) later(dependant);
            return;
          }
          entries.set(uid, { resource, object });
          kinds.add(object.kind);
          if (object.metadata.ownerReferences?.length || object.metadata.deletionTimestamp) later(uid);
        },
        onSynced: () => void synced.add(resource),
      }),
    );
  };
  for (const resource of RESOURCES) watch(resource);
  const definitions = cluster.watch<CustomResourceDefinition>("customresourcedefinitions.apiextensions.k8s.io", {
    onEvent: ({ type, object }) => {
      const established = object.status?.conditions?.some((one) => one.type === "Established" && one.status === "True");
      if (type !== "DELETED" && established) watch(`${object.spec.names.plural}.${object.spec.group}`);
    },
  });
  return {
    [Symbol.dispose]() {
      definitions[Symbol.dispose]();
      for (const one of watched.values()) one[Symbol.dispose]();
    },
  };
}

function collect(cluster: Cluster, { resource, object }: Entry, entries: ReadonlyMap<string, Entry>, kinds: ReadonlySet<string>): void {
  const { name, namespace, uid, finalizers = [], ownerReferences = [], deletionTimestamp } = object.metadata;
  if (deletionTimestamp && finalizers.includes("orphan")) {
    for (const entry of dependantsOf(uid, entries)) {
      const kept = entry.object.metadata.ownerReferences?.filter((owner) => owner.uid !== uid) ?? [];
      cluster.patch(entry.resource, entry.object.metadata.name, entry.object.metadata.namespace, { metadata: { ownerReferences: kept } });
    }
    dropFinalizer(cluster, resource, object, "orphan");
    return;
  }
  if (deletionTimestamp && finalizers.includes("foregroundDeletion")) {
    const blocking = dependantsOf(uid, entries);
    for (const entry of blocking) if (!entry.object.metadata.deletionTimestamp) remove(cluster, entry, "Foreground");
    if (blocking.length === 0) dropFinalizer(cluster, resource, object, "foregroundDeletion");
    return;
  }
  if (deletionTimestamp || ownerReferences.length === 0) return;
  // An owner of a kind that is not watched counts as there.
  const gone = ownerReferences.every((owner) => kinds.has(owner.kind) && !entries.has(owner.uid));
  if (gone) cluster.delete(resource, name, namespace || undefined, { propagationPolicy: "Background", uid });
}

function dependantsOf(uid: string, entries: ReadonlyMap<string, Entry>): Entry[] {
  return [...entries.values()].filter(({ object }) => object.metadata.ownerReferences?.some((owner) => owner.uid === uid));
}

function remove(cluster: Cluster, { resource, object }: Entry, propagationPolicy: "Foreground" | "Background"): void {
  cluster.delete(resource, object.metadata.name, object.metadata.namespace || undefined, { propagationPolicy, uid: object.metadata.uid });
}

function dropFinalizer(cluster: Cluster, resource: string, { metadata }: AnyObject, finalizer: string): void {
  const finalizers = (metadata.finalizers ?? []).filter((one) => one !== finalizer);
  cluster.patch(resource, metadata.name, metadata.namespace || undefined, { metadata: { finalizers } });
}
