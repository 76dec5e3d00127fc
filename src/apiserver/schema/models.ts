import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ADDED_FIELDS } from "./additions.ts";
import { annotateField, isAtomicType, isOptional } from "./keys.ts";
import { COMPONENTS, type Schema } from "./schema.ts";

/**
 * Schemas of the built-in kinds, read from the declarations of the `kubernetes-types` package: one interface a type,
 * one line a field, one doc comment before it. A file is read when one of its types is first needed.
 */

const root = dirname(createRequire(import.meta.url).resolve("kubernetes-types/package.json"));
const files = new Map<string, Map<string, Schema>>();
const META = "meta/v1";

/** Types that are not objects in JSON. */
const SCALARS: Readonly<Record<string, Schema>> = {
  string: { type: "string" },
  number: { type: "integer" },
  boolean: { type: "boolean" },
  any: { "x-kubernetes-preserve-unknown-fields": true },
  "number | string": { "x-kubernetes-int-or-string": true },
  Time: { type: "string", format: "date-time" },
  MicroTime: { type: "string", format: "date-time" },
  Quantity: { "x-kubernetes-int-or-string": true, format: "quantity" },
  RawExtension: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  FieldsV1: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  Patch: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  JSONSchemaProps: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
};

/** `core/v1.Pod` as OpenAPI documents name it: `io.k8s.api.core.v1.Pod`. */
export function componentName(model: string): string {
  const [, group = "", version = "", type = ""] = /^(.+)\/(v[^.]+)\.(.+)$/.exec(model) ?? [];
  if (group === "meta") return `io.k8s.apimachinery.pkg.apis.meta.${version}.${type}`;
  if (group === "apiextensions") return `io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.${version}.${type}`;
  return `io.k8s.api.${group}.${version}.${type}`;
}

const models = new Map<string, string>();

/** The schema of a type, e.g. `apps/v1.Deployment`. Throws when the package has no such type. */
export function modelSchema(model: string): Schema {
  const dot = model.lastIndexOf(".");
  const file = model.slice(0, dot);
  let types = files.get(file);
  if (!types) {
    types = readDeclarations(file);
    files.set(file, types);
  }
  const schema = types.get(model.slice(dot + 1));
  if (!schema) throw new Error(`kubernetes-types has no type ${model}`);
  return schema;
}

/** Follows a `$ref` to a built-in type; anything else is returned as it is. */
export function resolveModel(schema: Schema): Schema {
  if (!schema.$ref) return schema;
  const model = models.get(schema.$ref.slice(COMPONENTS.length));
  return model ? modelSchema(model) : schema;
}

/** A reference to a built-in type. */
export function refTo(model: string): Schema {
  const name = componentName(model);
  models.set(name, model);
  return { $ref: COMPONENTS + name };
}

export const OBJECT_META = `${META}.ObjectMeta`;
export const LIST_META = `${META}.ListMeta`;

function readDeclarations(file: string): Map<string, Schema> {
  const text = readFileSync(join(root, `${file}.d.ts`), "utf8");
  const imports = readImports(file, text);
  const types = new Map<string, Schema>();
  const declaration = /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?export interface (\w+) \{\n([\s\S]*?)^\}/gm;
  for (const [, comment, type = "", body = ""] of text.matchAll(declaration)) {
    types.set(
      type,
      readInterface(type, body, comment, (name) => refTo(`${imports.get(name) ?? file}.${name}`)),
    );
  }
  return types;
}

function readImports(file: string, text: string): Map<string, string> {
  const from = new Map<string, string>();
  for (const [, names = "", path = ""] of text.matchAll(/^import \{([^}]*)\} from "([^"]+)";/gm)) {
    const target = join(dirname(file), path);
    for (const name of names.split(",")) from.set(name.trim(), target);
  }
  return from;
}

function readInterface(type: string, body: string, comment: string | undefined, refer: (name: string) => Schema): Schema {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  const field = /(?:^ {4}\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?^ {4}(?:readonly )?["']?([\w$-]+)["']?(\?)?: (\{[\s\S]*?^ {4}\}|[^\n]*?);$/gm;
  for (const [, doc, name = "", optional, written = ""] of body.matchAll(field)) {
    const schema = annotateField(type, name, readType(written.trim(), refer));
    properties[name] = doc ? { ...schema, description: cleanComment(doc) } : schema;
    if (!optional && !isOptional(type, name)) required.push(name);
  }
  Object.assign(properties, ADDED_FIELDS[type]);
  return {
    type: "object",
    ...(comment ? { description: cleanComment(comment) } : {}),
    properties,
    ...(required.length > 0 ? { required } : {}),
    ...(isAtomicType(type) ? { "x-kubernetes-map-type": "atomic" } : {}),
  };
}

function readType(written: string, refer: (name: string) => Schema): Schema {
  const list = /^Array<([\s\S]+)>$/.exec(written) ?? /^(\w+)\[\]$/.exec(written);
  if (list?.[1]) return { type: "array", items: readType(list[1], refer) };
  const map = /^\{\s*\[name: string\]: ([\s\S]+?);?\s*\}$/.exec(written);
  if (map?.[1]) return { type: "object", additionalProperties: readType(map[1], refer) };
  const scalar = SCALARS[written];
  if (scalar) return { ...scalar };
  if (/^"[^"]*"$/.test(written)) return { type: "string" };
  return written.startsWith("JSONSchemaProps") ? { "x-kubernetes-preserve-unknown-fields": true } : refer(written);
}

function cleanComment(comment: string): string {
  const lines = comment.split("\n").map((line) => line.replace(/^\s*\*? ?/, "").trimEnd());
  return lines.join("\n").trim();
}
