import type { KubeObject } from "../object.ts";
import type { Column } from "../printer/columns.ts";
import type { Resolve, Schema } from "../schema/schema.ts";

/** Where the scale subresource finds its numbers, as dotted paths. */
export interface ScalePaths {
  readonly specReplicas: readonly string[];
  readonly statusReplicas: readonly string[];
  /** The path of a selector in text form; built-in kinds have a LabelSelector at spec.selector instead. */
  readonly labelSelector?: readonly string[];
}

/** One served resource in one version. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  /** Plural, lower case. */
  readonly resource: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  /** `status`, `scale`, `log`, … */
  readonly subresources: readonly string[];
  readonly scale?: ScalePaths;
  /** The key in the store; versions (and groups) of the same objects share it. */
  readonly storage: string;
  /** The apiVersion that objects have in the store. */
  readonly storageApiVersion: string;
  readonly schema: Schema;
  readonly resolve: Resolve;
  /** From a CustomResourceDefinition. */
  readonly custom: boolean;
  readonly columns: readonly Column[];
  /** Changes an object of this version into the stored form and back, where they differ in more than apiVersion. */
  readonly convert?: { toStorage(object: KubeObject): KubeObject; fromStorage(object: KubeObject): KubeObject };
}

export const apiVersionOf = (resource: Pick<Resource, "group" | "version">): string =>
  resource.group ? `${resource.group}/${resource.version}` : resource.version;

export const hasStatus = (resource: Resource): boolean => resource.subresources.includes("status");

/** Whether a field selector can find this path: the schema has it, outside of lists. Where a schema leaves the fields open, any. */
export function hasField({ schema, resolve }: Resource, path: readonly string[]): boolean {
  if (path[0] === "metadata") return true; // custom resources do not describe it
  let at = resolve(schema);
  for (const field of path) {
    if (!at.properties) return at.type === "object" || at.type === undefined;
    const next = at.properties[field];
    if (!next) return at.additionalProperties !== undefined || at["x-kubernetes-preserve-unknown-fields"] === true;
    at = resolve(next);
  }
  return true;
}

/** The object as this version of the resource shows it; the same object when nothing differs. */
export function fromStorage(resource: Resource, object: KubeObject): KubeObject {
  const apiVersion = apiVersionOf(resource);
  if (object.apiVersion === apiVersion) return object;
  const converted = resource.convert ? resource.convert.fromStorage(object) : object;
  return { ...converted, apiVersion, kind: resource.kind };
}

/** The object in the form in which it is stored. */
export function toStorage(resource: Resource, object: KubeObject): KubeObject {
  if (object.apiVersion === resource.storageApiVersion) return object;
  const converted = resource.convert ? resource.convert.toStorage(object) : object;
  return { ...converted, apiVersion: resource.storageApiVersion };
}
