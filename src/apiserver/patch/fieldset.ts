import { badRequest } from "../errors.ts";
import { child, isObject, type JsonObject } from "../object.ts";
import type { Resolve, Schema } from "../schema/schema.ts";

/**
 * The fields of an object as server-side apply sees them: paths of `f:NAME`, `k:{KEYS}` and `v:VALUE` steps, the keys of
 * Kubernetes' FieldsV1. A path is written as its steps joined by `SEPARATOR`.
 */
export type FieldSet = ReadonlySet<string>;

export const SEPARATOR = "\u0001";

/** The value behind a path that stands for a list item as such; its fields have paths of their own. */
export const ITEM = Symbol("item");

/** Metadata that no client manages. */
const UNMANAGED: ReadonlySet<string> = new Set(
  [
    "apiVersion",
    "kind",
    "metadata",
    ...[
      "name",
      "namespace",
      "uid",
      "resourceVersion",
      "generation",
      "creationTimestamp",
      "selfLink",
      "managedFields",
      "generateName",
      "deletionTimestamp",
      "deletionGracePeriodSeconds",
    ].map((name) => `metadata${SEPARATOR}f:${name}`),
  ].map((name) => `f:${name}`),
);

export interface Typed {
  readonly schema: Schema;
  readonly resolve: Resolve;
}

/** Every managed field of the object with its value. */
export function fieldsOf({ schema, resolve }: Typed, object: unknown): Map<string, unknown> {
  const fields = new Map<string, unknown>();
  visit(resolve, schema, object, "", fields);
  for (const path of UNMANAGED) fields.delete(path);
  return fields;
}

function visit(resolve: Resolve, given: Schema, value: unknown, path: string, fields: Map<string, unknown>): void {
  const schema = combined(resolve, given);
  if (isObject(value) && schema["x-kubernetes-map-type"] !== "atomic") {
    const entries = Object.entries(value);
    if (entries.length === 0 && path !== "") fields.set(path, value);
    for (const [key, part] of entries) visit(resolve, fieldSchema(schema, key), part, join(path, `f:${key}`), fields);
  } else if (Array.isArray(value) && isMerged(schema)) {
    if (value.length === 0) fields.set(path, value);
    for (const item of value) {
      const here = join(path, itemStep(resolve, schema, item));
      fields.set(here, ITEM);
      if (schema["x-kubernetes-list-type"] === "map") visit(resolve, schema.items ?? {}, item, here, fields);
    }
  } else fields.set(path, value);
}

/** What stands beside a reference counts too: list types are said where a type is used. */
export function combined(resolve: Resolve, schema: Schema): Schema {
  return schema.$ref ? { ...resolve(schema), ...schema } : schema;
}

export const isMerged = (schema: Schema): boolean =>
  schema["x-kubernetes-list-type"] === "map" || schema["x-kubernetes-list-type"] === "set";

export const join = (path: string, step: string): string => (path === "" ? step : path + SEPARATOR + step);

export function fieldSchema(schema: Schema, key: string): Schema {
  if (schema.properties && Object.hasOwn(schema.properties, key)) return schema.properties[key] ?? {};
  return isObject(schema.additionalProperties) ? (schema.additionalProperties as Schema) : {};
}

/** How an item of a merged list is told from the others. */
export function itemStep(resolve: Resolve, schema: Schema, item: unknown): string {
  if (schema["x-kubernetes-list-type"] !== "map") return `v:${JSON.stringify(item)}`;
  const { properties } = combined(resolve, schema.items ?? {});
  const keys: JsonObject = {};
  for (const key of [...(schema["x-kubernetes-list-map-keys"] ?? [])].sort()) {
    const value = isObject(item) ? item[key] : undefined;
    const known = value ?? properties?.[key]?.default;
    if (known !== undefined) keys[key] = known;
  }
  return `k:${JSON.stringify(keys)}`;
}

/** The set as the nested object that `managedFields` carries. */
export function toFieldsV1(paths: Iterable<string>): JsonObject {
  const root: JsonObject = {};
  const members = new Set(paths);
  for (const path of members) {
    let here = root;
    for (const step of path.split(SEPARATOR)) here = child(here, step);
  }
  // A node with children is a member only when it says so.
  for (const path of members) {
    const node = path.split(SEPARATOR).reduce((here, step) => here[step] as JsonObject, root);
    if (Object.keys(node).length > 0) node["."] = {};
  }
  return root;
}

export function fromFieldsV1(fields: unknown): Set<string> {
  const paths = new Set<string>();
  const walk = (node: unknown, path: string): void => {
    const steps = isObject(node) ? Object.keys(node) : [];
    if (path !== "" && (steps.length === 0 || steps.includes("."))) paths.add(path);
    for (const step of steps) if (step !== "." && isObject(node)) walk(node[step], join(path, step));
  };
  walk(fields, "");
  return paths;
}

/** A path for people: `.spec.template.spec.containers[name="web"].image`. */
export function pathText(path: string): string {
  return path
    .split(SEPARATOR)
    .map((step) => {
      if (step.startsWith("f:")) return `.${step.slice(2)}`;
      if (step.startsWith("v:")) return `[=${step.slice(2)}]`;
      const keys = Object.entries(JSON.parse(step.slice(2)) as JsonObject);
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
    })
    .join("");
}

/**
 * Refuses (400) lists whose items cannot be told apart: without their key, or twice with the same. An object that was
 * stored in another way may have such lists; a configuration to apply may not.
 */
export function checkKeys({ schema, resolve }: Typed, value: unknown, path = ""): void {
  const here = combined(resolve, schema);
  if (isObject(value)) {
    for (const [key, part] of Object.entries(value)) checkKeys({ schema: fieldSchema(here, key), resolve }, part, `${path}.${key}`);
  } else if (Array.isArray(value)) {
    if (isMerged(here)) checkItems(here, resolve, value, path);
    value.forEach((item, index) => {
      checkKeys({ schema: here.items ?? {}, resolve }, item, `${path}[${index}]`);
    });
  }
}

function checkItems(schema: Schema, resolve: Resolve, list: readonly unknown[], path: string): void {
  const seen = new Set<string>();
  list.forEach((item, index) => {
    const step = itemStep(resolve, schema, item);
    if (step === "k:{}")
      throw badRequest(`${path}[${index}]: an item of this list must have ${schema["x-kubernetes-list-map-keys"]?.join(" and ")}`);
    if (seen.has(step)) throw badRequest(`${path}[${index}]: this list already has an item with the same ${step.slice(2)}`);
    seen.add(step);
  });
}
