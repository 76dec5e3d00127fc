import { ApiError, notFound } from "../errors.ts";
import { asObject, type KubeObject, objectKey } from "../object.ts";
import { applyServerSide } from "../patch/apply.ts";
import { applyJsonPatch } from "../patch/json.ts";
import { applyMergePatch } from "../patch/merge.ts";
import { applyStrategicPatch } from "../patch/strategic.ts";
import { fromStorage, type Resource } from "../resources/resource.ts";
import type { Core, WriteOptions } from "./core.ts";
import { withOpinion } from "./opinion.ts";
import { updateObject } from "./update.ts";

export type PatchType = "json" | "merge" | "strategic" | "apply";

export interface PatchOptions extends WriteOptions {
  /** Server-side apply: take over fields that others own. */
  readonly force?: boolean;
}

export interface Target {
  readonly namespace: string | undefined;
  readonly name: string;
}

/** Patches an object; apply creates it when it does not exist. `created` tells which. */
export function patchObject(
  core: Core,
  resource: Resource,
  target: Target,
  type: PatchType,
  patch: unknown,
  options: PatchOptions,
): { readonly object: KubeObject; readonly created: boolean } {
  if (type === "apply") return withOpinion(core, resource, patch, options, () => applyServerSide(core, resource, target, patch, options));
  const stored = core.store.get(resource.storage, objectKey(resource.namespaced ? target.namespace : undefined, target.name));
  if (!stored) throw notFound(resource, target.name);
  const before = fromStorage(resource, stored);
  const patched = compute(resource, before, type, patch);
  const wanted = { ...asObject(patched) };
  wanted.metadata = { ...asObject(wanted.metadata), name: target.name };
  return { object: updateObject(core, resource, target.namespace, target.name, wanted, options), created: false };
}

/** The document after a patch of any but the apply type. */
export function compute(resource: Resource, before: unknown, type: Exclude<PatchType, "apply">, patch: unknown): unknown {
  if (type === "json") return applyJsonPatch(before, patch);
  if (type === "merge") return applyMergePatch(before, patch);
  if (resource.custom) {
    throw new ApiError(
      415,
      "UnsupportedMediaType",
      "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    );
  }
  return applyStrategicPatch(resource.schema, resource.resolve, before, patch);
}
