import {
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";

const ESCAPED: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/**
 * A message as the JSON that Go's encoder makes of it, upstream's included: names and order of fields are those of the .proto file, and
 * what HTML would take for markup is escaped.
 */
export function jsonLine<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>, registry?: Registry): string {
  return escapeMarkup(JSON.stringify(jsonInOrder(schema, message, registry)));
}

/** JSON text with what HTML would take for markup escaped. */
export function escapeMarkup(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (char) => ESCAPED[char] ?? char);
}

/** The JSON value of a message, its fields in the order of the .proto file. */
export function jsonInOrder<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>, registry?: Registry): JsonValue {
  return inOrder(schema, toJson(schema, message, { useProtoFieldName: true, ...(registry ? { registry } : {}) }));
}

/** `toJson` writes fields in the order of their numbers. */
function inOrder(schema: DescMessage, json: JsonValue): JsonValue {
  // The well-known types have JSON of their own.
  if (!isObject(json) || schema.typeName.startsWith("google.protobuf.")) return json;
  const ordered: Record<string, JsonValue> = {};
  for (const field of schema.fields) {
    const value = json[field.name];
    if (value !== undefined) ordered[field.name] = valueInOrder(field, value);
  }
  return ordered;
}

function valueInOrder(field: DescField, value: JsonValue): JsonValue {
  const { message } = field;
  if (message === undefined || field.fieldKind === "map") return value;
  return Array.isArray(value) ? value.map((item) => inOrder(message, item)) : inOrder(message, value);
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
