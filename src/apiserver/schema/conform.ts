import { type Cause, cause } from "../errors.ts";
import { isObject, type JsonObject } from "../object.ts";
import { checkValue } from "./constraints.ts";
import { checkExpressions } from "./expressions.ts";
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
  if (walk.mistyped.length === before) {
    checkValue(schema, walk.dropNulls ? result : value, path, walk.causes);
    walk.causes.push(...checkExpressions(schema, value, path));
  }
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
  if (schema.type === "array") {
    if (!Array.isArray(value)) return mistyped(walk, path, value, "array");
    return value.map((item: unknown, index) => visit(walk, schema.items ?? {}, item, `${path}[${index}]`, preserve));
  }
  const structured = schema.type === "object" || schema.properties || schema.additionalProperties;
  if (structured && isObject(value)) return visitObject(walk, schema, value, path, preserve);
  return !schema.type || IS[schema.type](value) ? value : mistyped(walk, path, value, schema.type);
}

/** Whether a value is of a JSON type; objects and lists are walked before this is asked. */
const IS: Readonly<Record<NonNullable<Schema["type"]>, (value: unknown) => boolean>> = {
  object: isObject,
  array: Array.isArray,
  integer: Number.isSafeInteger,
  number: (value) => typeof value === "number",
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
};

/** Quantities may be written as numbers; they are kept as text, as the Go types do. */
function normalQuantity(schema: Schema, value: string | number): string | number {
  return schema.format === "quantity" ? String(value) : value;
}

function visitObject(walk: Walk, schema: Schema, value: JsonObject, path: string, preserve: boolean): JsonObject {
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === "__proto__" || (item === null && walk.dropNulls)) continue;
    const field = path ? `${path}.${key}` : key;
    const next = schemaOf(schema, key);
    if (next) result[key] = visit(walk, next, item, field, preserve);
    else if (preserve || field === "apiVersion" || field === "kind") result[key] = item;
    else walk.unknown.push(field);
  }
  return result;
}

/** The schema of a field; undefined when the object has no such field. */
function schemaOf({ properties, additionalProperties }: Schema, key: string): Schema | undefined {
  if (properties && Object.hasOwn(properties, key)) return properties[key];
  if (additionalProperties === true) return {};
  return isObject(additionalProperties) ? (additionalProperties as Schema) : undefined;
}

function mistyped(walk: Walk, path: string, value: unknown, expected: string): unknown {
  const actual = Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;
  walk.mistyped.push(cause.type(path, value, `must be of type ${expected}: "${actual}"`));
  return value;
}
