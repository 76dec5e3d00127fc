import { clone, isObject } from "../object.ts";
import type { Schema } from "./schema.ts";

/** Sets the schema's defaults where the object has no value, in place; null counts as no value unless it is allowed. */
export function applyDefaults(schema: Schema, value: unknown): void {
  if (Array.isArray(value)) {
    if (schema.items) for (const item of value) applyDefaults(schema.items, item);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, part] of Object.entries(schema.properties ?? {})) {
    const missing = value[key] === undefined || (value[key] === null && !part.nullable);
    if (missing && part.default !== undefined) value[key] = clone(part.default);
    if (value[key] !== undefined) applyDefaults(part, value[key]);
  }
  if (isObject(schema.additionalProperties)) {
    for (const item of Object.values(value)) applyDefaults(schema.additionalProperties as Schema, item);
  }
}
