import { badRequest } from "../errors.ts";
import { clone, deepEqual, isObject, type JsonObject } from "../object.ts";
import type { Resolve, Schema } from "../schema/schema.ts";

const DIRECTIVE = "$patch";
const DELETE_PRIMITIVES = "$deleteFromPrimitiveList/";
const ORDER = "$setElementOrder/";
const RETAIN = "$retainKeys";

/**
 * Applies a Kubernetes strategic merge patch: lists with a merge key are merged item by item, others replaced, with the
 * directives `$patch`, `$deleteFromPrimitiveList`, `$setElementOrder` and `$retainKeys`. Returns the result.
 */
export function applyStrategicPatch(schema: Schema, resolve: Resolve, document: unknown, patch: unknown): unknown {
  if (!isObject(patch)) throw badRequest("a strategic merge patch must be a JSON object");
  return mergeObject({ resolve }, resolve(schema), isObject(document) ? document : {}, patch);
}

interface Walk {
  readonly resolve: Resolve;
}

function mergeObject(walk: Walk, schema: Schema, document: JsonObject, patch: JsonObject): JsonObject {
  const { [DIRECTIVE]: directive, [RETAIN]: retain, ...fields } = patch;
  if (directive === "replace") return clone(withoutDirectives(fields));
  if (directive === "delete") return {};
  const result: JsonObject = { ...document };
  if (Array.isArray(retain)) for (const key of Object.keys(result)) if (!retain.includes(key)) delete result[key];
  for (const [key, value] of Object.entries(fields)) {
    if (key.startsWith("$") || key === "__proto__") continue;
    if (value === null) delete result[key];
    else result[key] = mergeField(walk, fieldSchema(walk, schema, key), result[key], value, fields[ORDER + key]);
  }
  for (const [key, value] of Object.entries(fields)) applyListDirective(walk, schema, result, key, value, fields);
  return result;
}

function fieldSchema(walk: Walk, schema: Schema, key: string): Schema {
  const known = schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
  const rest = isObject(schema.additionalProperties) ? (schema.additionalProperties as Schema) : {};
  const field = known ?? rest;
  if (!field.$ref) return field;
  return { ...walk.resolve(field), ...field };
}

function mergeField(walk: Walk, schema: Schema, document: unknown, patch: unknown, order: unknown): unknown {
  if (Array.isArray(patch)) return mergeList(walk, schema, Array.isArray(document) ? document : [], patch, order);
  if (!isObject(patch)) return patch;
  return mergeObject(walk, schema, isObject(document) ? document : {}, patch);
}

function mergeList(walk: Walk, schema: Schema, document: readonly unknown[], patch: readonly unknown[], order: unknown): unknown[] {
  const strategy = schema["x-kubernetes-patch-strategy"] ?? "";
  const key = schema["x-kubernetes-patch-merge-key"];
  const replaceAll = patch.some((item) => isObject(item) && item[DIRECTIVE] === "replace");
  if (!strategy.startsWith("merge") || replaceAll) return patch.filter((item) => !(isObject(item) && DIRECTIVE in item)).map(clone);
  if (!key) return [...document, ...patch.filter((item) => !document.some((had) => deepEqual(had, item)))];
  return ordered(mergeItems(walk, schema, key, document, patch), key, order);
}

function mergeItems(walk: Walk, schema: Schema, key: string, document: readonly unknown[], patch: readonly unknown[]): JsonObject[] {
  let result = document.filter(isObject);
  const itemSchema = walk.resolve(schema.items ?? {});
  for (const item of patch) {
    if (!isObject(item)) throw badRequest(`a list that is merged by ${key} may only have objects in its patch`);
    const id = item[key];
    if (id === undefined) throw badRequest(`map: an item of a patched list does not contain declared merge key: ${key}`);
    if (item[DIRECTIVE] === "delete") {
      result = result.filter((had) => !deepEqual(had[key], id));
      continue;
    }
    const index = result.findIndex((had) => deepEqual(had[key], id));
    const merged = mergeObject(walk, itemSchema, result[index] ?? {}, item);
    result = index < 0 ? [...result, merged] : result.with(index, merged);
  }
  return result;
}

/** Items named in the order list take its order; the others stay behind the item they followed. */
function ordered(items: JsonObject[], key: string, order: unknown): JsonObject[] {
  if (!Array.isArray(order)) return items;
  const ids = order.map((entry) => JSON.stringify(isObject(entry) ? entry[key] : entry));
  const rank = (item: JsonObject) => ids.indexOf(JSON.stringify(item[key]));
  const named = items.filter((item) => rank(item) >= 0).sort((a, b) => rank(a) - rank(b));
  let next = 0;
  return items.map((item) => (rank(item) >= 0 ? (named[next++] ?? item) : item));
}

function applyListDirective(walk: Walk, schema: Schema, result: JsonObject, key: string, value: unknown, fields: JsonObject): void {
  if (key.startsWith(DELETE_PRIMITIVES) && Array.isArray(value)) {
    const name = key.slice(DELETE_PRIMITIVES.length);
    const list = result[name];
    if (Array.isArray(list)) result[name] = list.filter((item) => !value.includes(item));
  }
  if (!key.startsWith(ORDER)) return;
  const name = key.slice(ORDER.length);
  const mergeKey = fieldSchema(walk, schema, name)["x-kubernetes-patch-merge-key"];
  const list = result[name];
  if (mergeKey && !(name in fields) && Array.isArray(list)) result[name] = ordered(list.filter(isObject), mergeKey, value);
}

function withoutDirectives(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => !key.startsWith("$")));
}
