import { clone, isObject, type JsonObject } from "../object.ts";
import type { Schema } from "./schema.ts";

/** Sets the schema's defaults where the object has no value, in place; null counts as no value unless it is allowed. */
export function applyDefaults(schema: Schema, value: unknown): void {
  if (Array.isArray(value)) {
    if (schema.items) for (const item of value) applyDefaults(schema.items, item);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, part] of Object.entries(schema.properties ?? {})) defaultField(value, key, part);
  if (isObject(schema.additionalProperties)) {
    for (const item of Object.values(value)) applyDefaults(schema.additionalProperties as Schema, item);
  }
}

function defaultField(object: JsonObject, key: string, schema: Schema): void {
  const missing = object[key] === undefined || (object[key] === null && !schema.nullable);
  if (missing && schema.default !== undefined) object[key] = clone(schema.default);
  if (object[key] !== undefined) applyDefaults(schema, object[key]);
}
