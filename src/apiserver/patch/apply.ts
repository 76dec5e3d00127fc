import { notFound } from "../errors.ts";
import { asObject, type KubeObject, objectKey } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { createObject } from "../operations/create.ts";
import type { PatchOptions, Target } from "../operations/patch.ts";
import { updateObject } from "../operations/update.ts";
import { fromStorage, type Resource } from "../resources/resource.ts";
import { applyMergePatch } from "./merge.ts";

/** Server-side apply. */
export function applyServerSide(
  core: Core,
  resource: Resource,
  target: Target,
  patch: unknown,
  options: PatchOptions,
): { object: KubeObject; created: boolean } {
  const stored = core.store.get(resource.storage, objectKey(resource.namespaced ? target.namespace : undefined, target.name));
  if (!stored && options.subresource) throw notFound(resource, target.name);
  if (!stored) return { object: createObject(core, resource, target.namespace, patch, options), created: true };
  const wanted = asObject(applyMergePatch(fromStorage(resource, stored), patch));
  return { object: updateObject(core, resource, target.namespace, target.name, wanted, options), created: false };
}
