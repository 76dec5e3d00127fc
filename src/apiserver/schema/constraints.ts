import { isIP } from "node:net";
import { type Cause, cause } from "../errors.ts";
import { deepEqual, isObject } from "../object.ts";
import type { Schema } from "./schema.ts";

/** Checks the rules that need no walk into children: required fields, ranges, patterns, enums, formats, combinations. */
export function checkValue(schema: Schema, value: unknown, path: string, causes: Cause[]): void {
  if (schema.enum && !schema.enum.some((allowed) => deepEqual(allowed, value))) {
    causes.push(cause.unsupported(path, value, schema.enum));
  }
  if (typeof value === "string") checkString(schema, value, path, causes);
  else if (typeof value === "number") checkNumber(schema, value, path, causes);
  else if (Array.isArray(value)) checkArray(schema, value, path, causes);
  else if (isObject(value)) checkObject(schema, value, path, causes);
  if (schema.allOf || schema.anyOf || schema.oneOf || schema.not) checkCombinations(schema, value, path, causes);
}

function checkString(schema: Schema, value: string, path: string, causes: Cause[]): void {
  const add = (message: string) => causes.push(cause.invalid(path, value, message));
  if (schema.maxLength !== undefined && value.length > schema.maxLength) add(`must be no more than ${schema.maxLength} characters`);
  if (schema.minLength !== undefined && value.length < schema.minLength) add(`must be at least ${schema.minLength} characters`);
  if (schema.pattern && !compiled(schema.pattern).test(value)) add(`must match the pattern ${schema.pattern}${meaning(schema)}`);
  if (schema.format && !fitsFormat(schema.format, value)) add(`must be a valid ${schema.format}${meaning(schema)}`);
}

/** What the field is for tells more than a pattern. */
const meaning = ({ description }: Schema): string => (description ? `: ${description.split("\n", 1)[0]}` : "");

const patterns = new Map<string, RegExp>();

/** Patterns come from CRDs, which only administrators write; a pattern that JavaScript cannot read matches everything. */
function compiled(pattern: string): RegExp {
  let regex = patterns.get(pattern);
  if (regex) return regex;
  try {
    regex = new RegExp(pattern, "u");
  } catch {
    regex = /^/;
  }
  patterns.set(pattern, regex);
  return regex;
}

const FORMATS: Readonly<Record<string, RegExp>> = {
  "date-time": /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/,
  byte: /^[A-Za-z0-9+/\s]*={0,2}\s*$/,
  quantity: /^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[munkMGTPE]|[eE][+-]?\d+)?$/,
  uuid: /^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$/,
};

const ADDRESSES: Readonly<Record<string, (value: string) => boolean>> = {
  ipv4: (value) => isIP(value) === 4,
  ipv6: (value) => isIP(value) === 6,
  cidr: isCidr,
};

/** Whether a text is an address and a length: `10.0.0.0/8`, `fd00::/8`. */
export function isCidr(value: string): boolean {
  const [address = "", length = ""] = value.split("/", 2);
  const bits = isIP(address) === 4 ? 32 : 128;
  return (
    isIP(address) !== 0 && !address.includes("%") && value === `${address}/${length}` && /^\d{1,3}$/.test(length) && Number(length) <= bits
  );
}

const fitsFormat = (format: string, value: string): boolean => FORMATS[format]?.test(value) ?? ADDRESSES[format]?.(value) ?? true;

function checkNumber(schema: Schema, value: number, path: string, causes: Cause[]): void {
  const add = (message: string) => causes.push(cause.invalid(path, value, message));
  const { minimum, maximum, multipleOf } = schema;
  if (minimum !== undefined && (schema.exclusiveMinimum ? value <= minimum : value < minimum)) {
    add(`should be greater than ${schema.exclusiveMinimum ? "" : "or equal to "}${minimum}`);
  }
  if (maximum !== undefined && (schema.exclusiveMaximum ? value >= maximum : value > maximum)) {
    add(`should be less than ${schema.exclusiveMaximum ? "" : "or equal to "}${maximum}`);
  }
  if (multipleOf && value % multipleOf !== 0) add(`should be a multiple of ${multipleOf}`);
}

function checkArray(schema: Schema, value: readonly unknown[], path: string, causes: Cause[]): void {
  const add = (message: string) => causes.push(cause.invalid(path, value.length, message));
  if (schema.maxItems !== undefined && value.length > schema.maxItems) add(`must have at most ${schema.maxItems} items`);
  if (schema.minItems !== undefined && value.length < schema.minItems) add(`should have at least ${schema.minItems} items`);
  // Kubernetes' own types say by themselves where keys must differ: a container may declare a port twice.
  const keys = schema["x-kubernetes-patch-merge-key"] ? undefined : schema["x-kubernetes-list-map-keys"];
  const unique = schema.uniqueItems || schema["x-kubernetes-list-type"] === "set";
  if (!unique && !keys) return;
  const seen = new Set<string>();
  value.forEach((item, index) => {
    const identity = keys && isObject(item) ? JSON.stringify(keys.map((key) => item[key] ?? defaultOf(schema, key))) : JSON.stringify(item);
    if (seen.has(identity) && !(keys && identity.includes("null"))) causes.push(cause.duplicate(`${path}[${index}]`, item));
    seen.add(identity);
  });
}

const defaultOf = (schema: Schema, key: string): unknown => schema.items?.properties?.[key]?.default;

function checkObject(schema: Schema, value: Readonly<Record<string, unknown>>, path: string, causes: Cause[]): void {
  for (const key of schema.required ?? []) {
    if (value[key] === undefined) causes.push(cause.required(path ? `${path}.${key}` : key));
  }
  const size = Object.keys(value).length;
  const { minProperties, maxProperties } = schema;
  if (minProperties !== undefined && size < minProperties)
    causes.push(cause.invalid(path, size, `should have at least ${minProperties} properties`));
  if (maxProperties !== undefined && size > maxProperties)
    causes.push(cause.invalid(path, size, `must have at most ${maxProperties} properties`));
}

function checkCombinations(schema: Schema, value: unknown, path: string, causes: Cause[]): void {
  const add = (message: string) => causes.push(cause.invalid(path, value, message));
  const problems = (part: Schema): Cause[] => checkShape(part, value, path);
  for (const part of schema.allOf ?? []) causes.push(...problems(part));
  if (schema.anyOf && !schema.anyOf.some((part) => problems(part).length === 0)) {
    const [first] = choices(schema.anyOf);
    // Of the object as a whole: it has no field to name, and to show all of it would help nobody.
    if (path === "" && first !== undefined) causes.push(cause.required(first, `give ${choices(schema.anyOf).join(" or ")}`));
    else add(`must validate at least one schema (anyOf)${hint(schema.anyOf)}`);
  }
  const fitting = schema.oneOf?.filter((part) => problems(part).length === 0).length;
  if (fitting !== undefined && fitting !== 1) add(`must validate one and only one schema (oneOf)${hint(schema.oneOf ?? [])}`);
  if (schema.not && problems(schema.not).length === 0) add("must not validate the schema (not)");
}

const choices = (parts: readonly Schema[]): readonly string[] => parts.flatMap((part) => part.required ?? []);

const hint = (parts: readonly Schema[]): string => (choices(parts).length > 0 ? `: give ${choices(parts).join(" or ")}` : "");

/** Value rules of a logical part (`oneOf` …): its own rules and those of its named properties. */
function checkShape(schema: Schema, value: unknown, path: string): Cause[] {
  const causes: Cause[] = [];
  if (schema.type && !fitsType(schema.type, value)) causes.push(cause.type(path, value, `must be of type ${schema.type}`));
  checkValue(schema, value, path, causes);
  if (isObject(value)) {
    for (const [key, part] of Object.entries(schema.properties ?? {})) {
      if (value[key] !== undefined) causes.push(...checkShape(part, value[key], `${path}.${key}`));
    }
  }
  if (Array.isArray(value) && schema.items) {
    for (const item of value) causes.push(...checkShape(schema.items, item, path));
  }
  return causes;
}

function fitsType(type: NonNullable<Schema["type"]>, value: unknown): boolean {
  if (type === "object") return isObject(value);
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}
