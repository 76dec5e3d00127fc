import { ApiError, notFound } from "../errors.ts";
import { asObject, at, clone, isObject, type JsonObject, type KubeObject } from "../object.ts";
import type { Resource, ScalePaths } from "../resources/resource.ts";
import type { Core, WriteOptions } from "./core.ts";
import { compute, type PatchType, type Target } from "./patch.ts";
import { getObject } from "./read.ts";
import { replace } from "./update.ts";

/** The `autoscaling/v1` Scale of an object. */
export function getScale(core: Core, resource: Resource, target: Target): JsonObject {
  return scaleOf(resource, getObject(core, resource, target.namespace, target.name));
}

/** Sets the number of replicas from a whole Scale. */
export function setScale(core: Core, resource: Resource, target: Target, scale: unknown, options: WriteOptions): JsonObject {
  const before = getObject(core, resource, target.namespace, target.name);
  const replicas = at(scale, "spec", "replicas") ?? 0;
  if (!Number.isInteger(replicas) || Number(replicas) < 0) {
    throw new ApiError(
      422,
      "Invalid",
      `Scale ${JSON.stringify(target.name)} is invalid: spec.replicas: Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
    );
  }
  const wanted = clone(before);
  const version = at(scale, "metadata", "resourceVersion");
  wanted.metadata.resourceVersion = typeof version === "string" ? version : "";
  setAt(wanted, paths(resource, target).specReplicas, replicas);
  const { subresource, ...rest } = options;
  return scaleOf(resource, replace(core, resource, before, wanted, [], { ...rest, recordAs: "scale" }));
}

export function patchScale(
  core: Core,
  resource: Resource,
  target: Target,
  type: PatchType,
  patch: unknown,
  options: WriteOptions,
): JsonObject {
  const before = getScale(core, resource, target);
  const wanted = compute(resource, before, type === "json" ? "json" : "merge", patch);
  return setScale(core, resource, target, wanted, options);
}

function paths(resource: Resource, target: { readonly name: string }): ScalePaths {
  if (!resource.scale) throw notFound(resource, `${target.name}/scale`);
  return resource.scale;
}

function scaleOf(resource: Resource, object: KubeObject): JsonObject {
  const { specReplicas, statusReplicas, labelSelector } = paths(resource, object.metadata);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = labelSelector ? at(object, ...labelSelector) : selectorText(object.spec);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: at(object, ...specReplicas) ?? 0 },
    status: { replicas: at(object, ...statusReplicas) ?? 0, ...(typeof selector === "string" ? { selector } : {}) },
  };
}

/** A LabelSelector (or plain map) in text form. */
function selectorText(spec: unknown): string {
  const selector = asObject(at(spec, "selector"));
  const labels = isObject(selector.matchLabels) || selector.matchExpressions ? asObject(selector.matchLabels) : selector;
  const equal = Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`);
  const expressions = (Array.isArray(selector.matchExpressions) ? selector.matchExpressions : []).map((each: unknown) => {
    const { key, operator, values } = asObject(each);
    const list = Array.isArray(values) ? values.join(",") : "";
    if (operator === "Exists") return String(key);
    if (operator === "DoesNotExist") return `!${String(key)}`;
    return `${String(key)} ${operator === "In" ? "in" : "notin"} (${list})`;
  });
  return [...equal, ...expressions].join(",");
}

function setAt(object: JsonObject | KubeObject, path: readonly string[], value: unknown): void {
  let here = object as JsonObject;
  for (const key of path.slice(0, -1)) {
    if (!isObject(here[key])) here[key] = {};
    here = here[key] as JsonObject;
  }
  here[path.at(-1) ?? ""] = value;
}
