import { type Cause, cause } from "../errors.ts";
import { isObject, type JsonObject } from "../object.ts";
import { checkValue } from "./constraints.ts";
import type { Resolve, Schema } from "./schema.ts";

export interface Conformed {
  /** A copy without unknown fields (and, for built-in kinds, without nulls). */
  readonly value: unknown;
  /** Dotted paths of the fields that the schema does not know. */
  readonly unknown: readonly string[];
  /** Values of the wrong JSON type: the body cannot be read as this kind. */
  readonly mistyped: readonly Cause[];
  /** Values of the right type that break a rule of the schema. */
  readonly causes: readonly Cause[];
}

export interface ConformOptions {
  readonly resolve: Resolve;
  /** Built-in kinds read null as "not given"; custom resources keep it where it is nullable. */
  readonly dropNulls: boolean;
}

interface Walk extends ConformOptions {
  readonly unknown: string[];
  readonly mistyped: Cause[];
  readonly causes: Cause[];
}

/** Compares a value with its schema in one walk: prunes, collects unknown fields, wrong types and broken rules; never throws. */
export function conform(schema: Schema, value: unknown, options: ConformOptions): Conformed {
  const walk: Walk = { ...options, unknown: [], mistyped: [], causes: [] };
  return { ...walk, value: visit(walk, schema, value, "", false) };
}

function visit(walk: Walk, given: Schema, value: unknown, path: string, open: boolean): unknown {
  const schema = walk.resolve(given);
  if (value === null) return visitNull(walk, schema, path);
  const before = walk.mistyped.length;
  const result = visitTyped(walk, schema, value, path, open);
  if (walk.mistyped.length === before) checkValue(schema, value, path, walk.causes);
  return result;
}

function visitNull(walk: Walk, schema: Schema, path: string): unknown {
  const free = schema.nullable || (!schema.type && !schema["x-kubernetes-int-or-string"]);
  if (!free && !walk.dropNulls) walk.mistyped.push(cause.type(path, null, `must be of type ${schema.type ?? "integer or string"}: "null"`));
  return null;
}

function visitTyped(walk: Walk, schema: Schema, value: unknown, path: string, open: boolean): unknown {
  const preserve = open || schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (schema["x-kubernetes-int-or-string"]) {
    const fits = typeof value === "string" || typeof value === "number";
    return fits ? normalQuantity(schema, value) : mistyped(walk, path, value, "integer or string");
  }
  switch (schema.type) {
    case "object":
      return isObject(value) ? visitObject(walk, schema, value, path, preserve) : mistyped(walk, path, value, "object");
    case "array":
      if (!Array.isArray(value)) return mistyped(walk, path, value, "array");
      return value.map((item: unknown, index) => visit(walk, schema.items ?? {}, item, `${path}[${index}]`, preserve));
    case "integer":
      return Number.isSafeInteger(value) ? value : mistyped(walk, path, value, "integer");
    case "number":
      return typeof value === "number" ? value : mistyped(walk, path, value, "number");
    case "string":
      return typeof value === "string" ? value : mistyped(walk, path, value, "string");
    case "boolean":
      return typeof value === "boolean" ? value : mistyped(walk, path, value, "boolean");
    default:
      return isObject(value) && (schema.properties || schema.additionalProperties)
        ? visitObject(walk, schema, value, path, preserve)
        : value;
  }
}

/** Quantities may be written as numbers; they are kept as text, as the Go types do. */
function normalQuantity(schema: Schema, value: string | number): string | number {
  return schema.format === "quantity" ? String(value) : value;
}

function visitObject(walk: Walk, schema: Schema, value: JsonObject, path: string, preserve: boolean): JsonObject {
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === "__proto__") continue;
    const field = path ? `${path}.${key}` : key;
    const known = schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    const rest = schema.additionalProperties;
    const next = known ?? (isObject(rest) ? (rest as Schema) : rest === true ? {} : undefined);
    if (item === null && walk.dropNulls) continue;
    if (next) result[key] = visit(walk, next, item, field, preserve);
    else if (preserve || (path === "" && (key === "apiVersion" || key === "kind"))) result[key] = item;
    else walk.unknown.push(field);
  }
  return result;
}

function mistyped(walk: Walk, path: string, value: unknown, expected: string): unknown {
  const actual = Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;
  walk.mistyped.push(cause.type(path, value, `must be of type ${expected}: "${actual}"`));
  return value;
}
