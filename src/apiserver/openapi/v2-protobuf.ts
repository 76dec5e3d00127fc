import { asArray, asObject, type JsonObject } from "../object.ts";
import { bytesField, message, stringField, varintField } from "../protobuf/wire.ts";

/** Field numbers of gnostic's `openapi.v2.Document` and what it consists of. */
const DOCUMENT = { swagger: 1, info: 2, paths: 8, definitions: 9 } as const;
const SCHEMA = {
  ref: 1,
  format: 2,
  description: 4,
  required: 19,
  additionalProperties: 21,
  type: 22,
  items: 23,
  properties: 25,
  extension: 31,
} as const;

interface SwaggerDocument {
  readonly definitions?: Readonly<Record<string, JsonObject>>;
}

/** The definitions of an OpenAPI 2 document in the protobuf form that client-go reads. Paths are left out: nobody reads them there. */
export function encodeOpenApiV2(document: SwaggerDocument): Buffer {
  const definitions = Object.entries(document.definitions ?? {}).map(([name, schema]) => bytesField(1, namedSchema(name, schema)));
  return message(
    stringField(DOCUMENT.swagger, "2.0"),
    bytesField(DOCUMENT.info, message(stringField(1, "Kubernetes"), stringField(2, "v1.33.0"))),
    bytesField(DOCUMENT.paths, message()),
    bytesField(DOCUMENT.definitions, message(...definitions)),
  );
}

const namedSchema = (name: string, schema: JsonObject): Buffer => message(stringField(1, name), bytesField(2, encodeSchema(schema)));

function encodeSchema(schema: JsonObject): Buffer {
  const parts: Buffer[] = [];
  if (typeof schema.$ref === "string") parts.push(stringField(SCHEMA.ref, schema.$ref));
  if (typeof schema.format === "string") parts.push(stringField(SCHEMA.format, schema.format));
  if (typeof schema.description === "string") parts.push(stringField(SCHEMA.description, schema.description));
  for (const name of asArray(schema.required)) parts.push(stringField(SCHEMA.required, String(name)));
  if (schema.additionalProperties === true) parts.push(bytesField(SCHEMA.additionalProperties, message(varintField(2, 1))));
  else if (schema.additionalProperties) {
    parts.push(bytesField(SCHEMA.additionalProperties, message(bytesField(1, encodeSchema(asObject(schema.additionalProperties))))));
  }
  if (typeof schema.type === "string") parts.push(bytesField(SCHEMA.type, message(stringField(1, schema.type))));
  if (schema.items) parts.push(bytesField(SCHEMA.items, message(bytesField(1, encodeSchema(asObject(schema.items))))));
  const properties = Object.entries(asObject(schema.properties)).map(([name, part]) => bytesField(1, namedSchema(name, asObject(part))));
  if (properties.length > 0) parts.push(bytesField(SCHEMA.properties, message(...properties)));
  for (const [key, value] of Object.entries(schema)) {
    // An extension's value is an Any whose `yaml` text readers parse.
    if (key.startsWith("x-"))
      parts.push(bytesField(SCHEMA.extension, message(stringField(1, key), bytesField(2, message(stringField(2, JSON.stringify(value)))))));
  }
  return message(...parts);
}
