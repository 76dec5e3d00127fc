import { clone, isObject, type JsonObject } from "../object.ts";
import type { Resolve, Schema } from "../schema/schema.ts";
import { combined, fieldSchema, isMerged, itemStep, join, type Typed } from "./fieldset.ts";

/** The live object with everything that the applied configuration says. */
export function mergeTyped({ schema, resolve }: Typed, live: unknown, applied: unknown): unknown {
  return merge(resolve, schema, live, applied);
}

function merge(resolve: Resolve, given: Schema, live: unknown, applied: unknown): unknown {
  const schema = combined(resolve, given);
  if (isObject(applied) && isObject(live) && schema["x-kubernetes-map-type"] !== "atomic") {
    const result: JsonObject = { ...live };
    for (const [key, value] of Object.entries(applied)) result[key] = merge(resolve, fieldSchema(schema, key), live[key], value);
    return result;
  }
  if (Array.isArray(applied) && Array.isArray(live) && isMerged(schema)) return mergeList(resolve, schema, live, applied);
  return clone(applied);
}

/** In the configuration's order when that names every item; else in the live order, with new items behind. */
function mergeList(resolve: Resolve, schema: Schema, live: readonly unknown[], applied: readonly unknown[]): unknown[] {
  const step = (item: unknown) => itemStep(resolve, schema, item);
  const items = new Map(live.map((item) => [step(item), item]));
  const wanted = new Map(applied.map((item) => [step(item), item]));
  for (const [key, item] of wanted) items.set(key, merge(resolve, schema.items ?? {}, items.get(key), item));
  const order = [...items.keys()].every((key) => wanted.has(key)) ? wanted.keys() : items.keys();
  return [...order].map((key) => items.get(key));
}

/** The object without the fields and list items for which `drop` holds; objects that become empty by it go too. */
export function pruneTyped({ schema, resolve }: Typed, object: JsonObject, drop: (path: string) => boolean): JsonObject {
  return asRoot(prune(resolve, schema, object, "", drop), object);
}

const asRoot = (value: unknown, fallback: JsonObject): JsonObject => (isObject(value) ? value : fallback);

function prune(resolve: Resolve, given: Schema, value: unknown, path: string, drop: (path: string) => boolean): unknown {
  const schema = combined(resolve, given);
  if (isObject(value) && schema["x-kubernetes-map-type"] !== "atomic") {
    const result: JsonObject = {};
    for (const [key, part] of Object.entries(value)) {
      const here = join(path, `f:${key}`);
      const kept = drop(here) ? undefined : prune(resolve, fieldSchema(schema, key), part, here, drop);
      if (kept !== undefined) result[key] = kept;
    }
    const emptied = Object.keys(result).length === 0 && Object.keys(value).length > 0;
    return emptied && path.includes("\u0001") ? undefined : result;
  }
  if (!Array.isArray(value) || !isMerged(schema)) return value;
  const kept = value.flatMap((item: unknown) => {
    const here = join(path, itemStep(resolve, schema, item));
    if (drop(here)) return [];
    const inner = schema["x-kubernetes-list-type"] === "map" ? prune(resolve, schema.items ?? {}, item, here, drop) : item;
    return inner === undefined ? [] : [inner];
  });
  return kept.length === 0 && value.length > 0 ? undefined : kept;
}
