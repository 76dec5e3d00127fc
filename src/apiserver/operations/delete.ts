import { conflict, notFound } from "../errors.ts";
import { at, clone, type KubeObject, objectKey, timestamp } from "../object.ts";
import { fromStorage, type Resource } from "../resources/resource.ts";
import type { Core, DeleteOptions } from "./core.ts";
import { hasGeneration } from "./metadata.ts";

export interface Deleted {
  /** The object as it is now (or was last). */
  readonly object: KubeObject;
  /** False while finalizers, a grace period or a namespace's contents keep it. */
  readonly gone: boolean;
}

/** Deletes an object, or marks it for deletion when something must happen first. */
export function deleteObject(core: Core, resource: Resource, namespace: string | undefined, name: string, options: DeleteOptions): Deleted {
  const before = core.store.get(resource.storage, objectKey(resource.namespaced ? namespace : undefined, name));
  if (!before) throw notFound(resource, name);
  checkPreconditions(resource, before, options);
  const object = clone(before);
  const grace = gracePeriod(resource, object, options);
  addFinalizers(resource, object, options);
  const held = holdsOn(resource, object);
  if (!held && grace === 0) {
    const last = options.dryRun ? object : core.store.remove(resource.storage, object);
    return { object: fromStorage(resource, last), gone: true };
  }
  markDeleted(core, resource, object, grace);
  const unchanged =
    before.metadata.deletionTimestamp !== undefined &&
    before.metadata.deletionGracePeriodSeconds === object.metadata.deletionGracePeriodSeconds;
  const stored = options.dryRun || unchanged ? object : core.store.put(resource.storage, object);
  return { object: fromStorage(resource, stored), gone: false };
}

function checkPreconditions(resource: Resource, object: KubeObject, options: DeleteOptions): void {
  const { name, uid, resourceVersion } = object.metadata;
  const mismatch = (what: string, wanted: string, found: string) =>
    conflict(resource, name, `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${found}`);
  if (options.uid && options.uid !== uid) throw mismatch("UID", options.uid, uid);
  if (options.resourceVersion && options.resourceVersion !== resourceVersion) {
    throw mismatch("ResourceVersion", options.resourceVersion, resourceVersion);
  }
}

/** Pods that run somewhere get time to stop; their kubelet deletes them with a period of 0. */
function gracePeriod(resource: Resource, object: KubeObject, options: DeleteOptions): number {
  if (resource.storage !== "pods") return 0;
  const phase = at(object, "status", "phase");
  if (!at(object, "spec", "nodeName") || phase === "Succeeded" || phase === "Failed") return 0;
  const wanted = options.gracePeriodSeconds ?? Number(at(object, "spec", "terminationGracePeriodSeconds") ?? 30);
  const running = object.metadata.deletionGracePeriodSeconds;
  return Math.max(0, running === undefined ? wanted : Math.min(wanted, running));
}

function addFinalizers(resource: Resource, object: KubeObject, options: DeleteOptions): void {
  const extra =
    options.propagationPolicy === "Foreground" ? "foregroundDeletion" : options.propagationPolicy === "Orphan" ? "orphan" : undefined;
  const finalizers = new Set(object.metadata.finalizers ?? []);
  if (extra && !object.metadata.deletionTimestamp) finalizers.add(extra);
  if (resource.storage === CRDS && !object.metadata.deletionTimestamp) finalizers.add(CRD_FINALIZER);
  if (finalizers.size > 0) object.metadata.finalizers = [...finalizers];
}

const CRDS = "customresourcedefinitions.apiextensions.k8s.io";
/** Keeps a CustomResourceDefinition until its objects are deleted. */
export const CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io";

function holdsOn(resource: Resource, object: KubeObject): boolean {
  if ((object.metadata.finalizers?.length ?? 0) > 0) return true;
  const finalizers = at(object, "spec", "finalizers");
  return resource.storage === "namespaces" && Array.isArray(finalizers) && finalizers.length > 0;
}

function markDeleted(core: Core, resource: Resource, object: KubeObject, grace: number): void {
  const { metadata } = object;
  if (!metadata.deletionTimestamp && hasGeneration(resource)) metadata.generation = (metadata.generation ?? 0) + 1;
  metadata.deletionTimestamp = timestamp(new Date(core.now().getTime() + grace * 1000));
  metadata.deletionGracePeriodSeconds = grace;
  if (resource.storage === "namespaces") object.status = { ...(object.status as object), phase: "Terminating" };
}
