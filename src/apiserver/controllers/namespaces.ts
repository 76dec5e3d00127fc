import { errorMessage } from "#runtime/errors.ts";
import { ApiError, notFound } from "../errors.ts";
import { asArray, asObject, at, clone, type JsonObject, type KubeObject, objectKey } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { CRD_FINALIZER, deleteObject } from "../operations/delete.ts";
import type { Resource } from "../resources/resource.ts";

const CRDS = "customresourcedefinitions.apiextensions.k8s.io";

/** `namespaces/finalize`: sets the namespace's own finalizers; with none left and deletion asked for, it goes. */
export function finalizeNamespace(core: Core, name: string, body: JsonObject): KubeObject {
  const before = core.store.get("namespaces", name);
  if (!before) throw notFound({ group: "", resource: "namespaces" }, name);
  const next = clone(before);
  next.spec = { ...asObject(next.spec), finalizers: asArray(at(body, "spec", "finalizers")) };
  const kept = asArray(at(next, "spec", "finalizers")).length + (next.metadata.finalizers?.length ?? 0);
  if (next.metadata.deletionTimestamp && kept === 0) return core.store.remove("namespaces", next);
  return core.store.put("namespaces", next);
}

/**
 * How long what is in a terminating namespace is left alone: `kubectl delete -f` of a file with a namespace and its content deletes the
 * namespace first, and must find the rest. Kubernetes' own controller waits for 5 s.
 */
const GRACE_MS = 1000;

/**
 * Deletes what is in terminating namespaces and what belongs to definitions that go away, then lets these go.
 * Wakes on every change of any resource of which something is being waited for.
 */
export function startTerminator(core: Core): Disposable {
  const watched = new Map<string, Disposable>();
  let scheduled = false;
  let closed = false;
  const wake = () => {
    if (scheduled || closed) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      if (!closed) sweep();
    });
  };
  const follow = (storage: string) => {
    if (!watched.has(storage)) watched.set(storage, core.store.subscribe(storage, wake));
  };
  const due = new Map<string, number>();
  const isDue = ({ uid }: KubeObject["metadata"]) => {
    const known = due.get(uid);
    if (known !== undefined) return performance.now() >= known;
    due.set(uid, performance.now() + GRACE_MS);
    setTimeout(wake, GRACE_MS + 1).unref();
    return false;
  };
  const sweep = () => {
    try {
      const ending = core.store.list("namespaces").filter(({ metadata }) => metadata.deletionTimestamp);
      for (const namespace of ending) if (isEmpty(core, namespace) || isDue(namespace.metadata)) emptyNamespace(core, namespace, follow);
      for (const uid of due.keys()) if (!ending.some(({ metadata }) => metadata.uid === uid)) due.delete(uid);
      for (const definition of core.store.list(CRDS)) if (definition.metadata.deletionTimestamp) emptyDefinition(core, definition, follow);
    } catch (thrown) {
      core.log.warn("cannot empty what is being deleted, trying again", { error: errorMessage(thrown) });
      setTimeout(wake, 1000).unref();
    }
  };
  follow("namespaces");
  follow(CRDS);
  wake();
  return {
    [Symbol.dispose]() {
      closed = true;
      for (const subscription of watched.values()) subscription[Symbol.dispose]();
    },
  };
}

function isEmpty(core: Core, { metadata }: KubeObject): boolean {
  return storedResources(core).every((resource) => !resource.namespaced || core.store.list(resource.storage, metadata.name).length === 0);
}

function emptyNamespace(core: Core, namespace: KubeObject, follow: (storage: string) => void): void {
  const { name } = namespace.metadata;
  let left = 0;
  for (const resource of storedResources(core)) {
    if (resource.namespaced) left += deleteAll(core, resource, core.store.list(resource.storage, name), follow);
  }
  const finalizers = asArray(at(namespace, "spec", "finalizers"));
  if (left === 0 && finalizers.includes("kubernetes")) {
    finalizeNamespace(core, name, { spec: { finalizers: finalizers.filter((each) => each !== "kubernetes") } });
  }
}

function emptyDefinition(core: Core, definition: KubeObject, follow: (storage: string) => void): void {
  const { name, finalizers = [] } = definition.metadata;
  const resource = core.registry.named(name);
  const left = resource ? deleteAll(core, resource, core.store.list(resource.storage), follow) : 0;
  if (left > 0 || !finalizers.includes(CRD_FINALIZER)) return;
  const next = clone(definition);
  next.metadata.finalizers = finalizers.filter((each) => each !== CRD_FINALIZER);
  if (next.metadata.finalizers.length === 0) core.store.remove(CRDS, next);
  else core.store.put(CRDS, next);
}

/** One entry a stored resource: versions and groups that share their objects count once. */
function storedResources(core: Core): Resource[] {
  return [...new Map(core.registry.all().map((resource) => [resource.storage, resource])).values()];
}

/** Asks each object to go; returns how many are still there. */
function deleteAll(core: Core, resource: Resource, objects: readonly KubeObject[], follow: (storage: string) => void): number {
  let left = 0;
  for (const { metadata } of objects) {
    if (!metadata.deletionTimestamp) tryDelete(core, resource, metadata.namespace, metadata.name);
    if (core.store.get(resource.storage, objectKey(metadata.namespace, metadata.name))) left++;
  }
  if (left > 0) follow(resource.storage);
  return left;
}

function tryDelete(core: Core, resource: Resource, namespace: string | undefined, name: string): void {
  try {
    deleteObject(core, resource, namespace, name, { propagationPolicy: "Background" });
  } catch (thrown) {
    if (!(thrown instanceof ApiError && thrown.httpStatus === 404)) throw thrown;
  }
}
