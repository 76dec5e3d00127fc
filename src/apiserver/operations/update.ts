import { rulesOf } from "../admission/kinds.ts";
import { badRequest, type Cause, cause, conflict, invalid, notFound, staleObject } from "../errors.ts";
import { clone, deepEqual, type KubeObject, objectKey } from "../object.ts";
import { recordUpdate } from "../patch/managed.ts";
import { fromStorage, hasStatus, type Resource, toStorage } from "../resources/resource.ts";
import type { Core, WriteOptions } from "./core.ts";
import { decodeObject } from "./decode.ts";
import { checkMetadata, hasGeneration, setNamespace, specification } from "./metadata.ts";
import { reviewFor, withOpinion } from "./opinion.ts";

/** Replaces an object (or its status). A resourceVersion in the body must be the current one. */
export function updateObject(
  core: Core,
  resource: Resource,
  namespace: string | undefined,
  name: string,
  body: unknown,
  options: WriteOptions,
): KubeObject {
  return withOpinion(core, resource, body, options, () => {
    const { object, causes } = decodeObject(resource, body, options);
    const given = object.metadata.name;
    if (given && given !== name) throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
    object.metadata.name = name;
    setNamespace(resource, namespace, object);
    const before = core.store.get(resource.storage, objectKey(object.metadata.namespace, name));
    if (!before) throw notFound(resource, name);
    return replace(core, resource, before, object, causes, options);
  });
}

/** The second half of update, patch and apply: from the wanted state to the stored one. */
export function replace(
  core: Core,
  resource: Resource,
  before: KubeObject,
  wanted: KubeObject,
  causes: readonly Cause[],
  options: WriteOptions & { readonly applied?: boolean; readonly recordAs?: string },
): KubeObject {
  const { name } = before.metadata;
  const { resourceVersion, uid } = wanted.metadata;
  if (resourceVersion && resourceVersion !== before.metadata.resourceVersion) throw staleObject(resource, name);
  if (uid && uid !== before.metadata.uid) {
    throw conflict(
      resource,
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${before.metadata.uid}). The object might have been deleted and then recreated`,
    );
  }
  const object = merge(resource, before, toStorage(resource, wanted), options.subresource);
  const rules = rulesOf(resource.storage);
  rules.drop?.(object, before);
  rules.defaults?.(object, core);
  const checked =
    options.subresource === "status"
      ? causes
      : [...checkMetadata(resource, object), ...causes, ...(rules.validate?.(object, before, core) ?? [])];
  const problems = [
    ...checked,
    ...checkFinalizers(before, object),
    ...(options.subresource ? [] : (rules.prepare?.(object, before, core) ?? [])),
  ];
  if (problems.length > 0) throw invalid(resource, name, problems);
  reviewFor(core, resource, object, options);
  bumpGeneration(resource, before, object);
  if (!options.applied)
    recordUpdate(resource, before, object, options.fieldManager ?? "unknown", core.now(), options.recordAs ?? options.subresource);
  return commit(core, resource, before, object, options);
}

/** What of the wanted object may change by this request: status alone, or everything but status. */
function merge(resource: Resource, before: KubeObject, wanted: KubeObject, subresource: string | undefined): KubeObject {
  const metadata = { ...clone(wanted.metadata) };
  const old = before.metadata;
  metadata.name = old.name;
  metadata.uid = old.uid;
  metadata.resourceVersion = old.resourceVersion;
  metadata.creationTimestamp = old.creationTimestamp;
  for (const field of ["namespace", "generateName", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] as const) {
    Reflect.deleteProperty(metadata, field);
    if (old[field] !== undefined) Object.assign(metadata, { [field]: old[field] });
  }
  metadata.managedFields ??= clone(old.managedFields ?? []);
  if (subresource === "status") {
    const kept = LABELS_BY_STATUS.has(resource.storage) ? metadata : { ...clone(old), managedFields: metadata.managedFields };
    const { status, ...rest } = before;
    return clone({ ...rest, metadata: kept, ...(wanted.status === undefined ? {} : { status: wanted.status }) });
  }
  const object: KubeObject = { ...clone(wanted), metadata };
  if (hasStatus(resource)) {
    Reflect.deleteProperty(object, "status");
    if (before.status !== undefined) object.status = clone(before.status);
  }
  return object;
}

/** Kubelets set labels and annotations together with the status of these. */
const LABELS_BY_STATUS: ReadonlySet<string> = new Set(["nodes", "pods"]);

function checkFinalizers(before: KubeObject, object: KubeObject): Cause[] {
  if (!before.metadata.deletionTimestamp) return [];
  const had = new Set(before.metadata.finalizers ?? []);
  const added = (object.metadata.finalizers ?? []).filter((finalizer) => !had.has(finalizer));
  return added.length === 0
    ? []
    : [
        cause.forbidden(
          "metadata.finalizers",
          `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
        ),
      ];
}

function bumpGeneration(resource: Resource, before: KubeObject, object: KubeObject): void {
  if (!hasGeneration(resource)) return;
  const withStatus = !hasStatus(resource);
  if (deepEqual(specification(before, withStatus), specification(object, withStatus))) return;
  object.metadata.generation = (before.metadata.generation ?? 0) + 1;
}

function commit(core: Core, resource: Resource, before: KubeObject, object: KubeObject, options: WriteOptions): KubeObject {
  if (deepEqual(withoutTimes(before), withoutTimes(object))) return fromStorage(resource, before);
  if (options.dryRun) return fromStorage(resource, object);
  const finished =
    object.metadata.deletionTimestamp && !object.metadata.finalizers?.length && object.metadata.deletionGracePeriodSeconds === 0;
  const held = resource.storage === "namespaces" && ((object.spec as { finalizers?: string[] } | undefined)?.finalizers?.length ?? 0) > 0;
  if (finished && !held) return fromStorage(resource, core.store.remove(resource.storage, object));
  return fromStorage(resource, core.store.put(resource.storage, object));
}

/** A write that only renews the times of managed fields is no change. */
function withoutTimes(object: KubeObject): unknown {
  const entries = object.metadata.managedFields?.map(({ time, ...entry }) => entry);
  return { ...object, metadata: { ...object.metadata, managedFields: entries?.length ? entries : undefined } };
}
