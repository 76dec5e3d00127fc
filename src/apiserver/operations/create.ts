import { rulesOf } from "../admission/kinds.ts";
import { alreadyExists, type Cause, invalid } from "../errors.ts";
import { type KubeObject, objectKey } from "../object.ts";
import { recordUpdate } from "../patch/managed.ts";
import { fromStorage, hasStatus, type Resource, toStorage } from "../resources/resource.ts";
import type { Core, WriteOptions } from "./core.ts";
import { decodeObject } from "./decode.ts";
import { checkMetadata, checkNamespace, fillMetadata } from "./metadata.ts";
import { reviewFor, withOpinion } from "./opinion.ts";

/** Creates the object of a body: defaults, admission, validation, then the store. Returns it as stored. */
export function createObject(
  core: Core,
  resource: Resource,
  namespace: string | undefined,
  body: unknown,
  options: WriteOptions,
): KubeObject {
  return withOpinion(core, resource, body, options, () => {
    const { object, causes } = decodeObject(resource, body, options);
    fillMetadata(core, resource, namespace, object);
    if (hasStatus(resource)) Reflect.deleteProperty(object, "status");
    return insert(core, resource, object, causes, options);
  });
}

/** The second half of creating, shared with server-side apply: the object is complete but for defaults. */
export function insert(
  core: Core,
  resource: Resource,
  wanted: KubeObject,
  causes: readonly Cause[],
  options: WriteOptions & { readonly applied?: boolean },
): KubeObject {
  const object = toStorage(resource, wanted);
  const { name } = object.metadata;
  const rules = rulesOf(resource.storage);
  rules.defaults?.(object, core);
  const problems = [...checkMetadata(resource, object), ...causes, ...(rules.validate?.(object, undefined, core) ?? [])];
  if (problems.length > 0) throw invalid(resource, name ?? object.metadata.generateName ?? "", problems);
  checkNamespace(core, resource, object);
  const key = objectKey(object.metadata.namespace, name);
  if (core.store.get(resource.storage, key)) throw alreadyExists(resource, name);
  const prepared = rules.prepare?.(object, undefined, core) ?? [];
  if (prepared.length > 0) throw invalid(resource, name, prepared);
  reviewFor(core, resource, object, options);
  if (!options.applied) recordUpdate(resource, undefined, object, options.fieldManager ?? "unknown", core.now(), options.subresource);
  if (options.dryRun) return fromStorage(resource, { ...object, apiVersion: resource.storageApiVersion });
  return fromStorage(resource, core.store.put(resource.storage, object));
}
