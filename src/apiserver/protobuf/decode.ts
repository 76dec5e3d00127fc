import { readFileSync } from "node:fs";
import { join } from "node:path";
import { badRequest } from "../errors.ts";
import { child, type JsonObject } from "../object.ts";
import { readFields, type WireField } from "./wire.ts";
import { keepsZero } from "./zero.ts";

/** Kubernetes' protobuf bodies begin with this, then a `runtime.Unknown` with apiVersion, kind and the encoded object. */
const MAGIC = Buffer.from("k8s\0");
const META = "k8s.io.apimachinery.pkg.apis.meta.v1";
const UNKNOWN = "k8s.io.apimachinery.pkg.runtime.Unknown";

interface Field {
  readonly name: string;
  readonly type: string;
  readonly repeated: boolean;
  /** Its fields belong to the object around it. */
  readonly inlined: boolean;
}

/** Reads a body of `application/vnd.kubernetes.protobuf` as the JSON that says the same. Throws 400. */
export function decodeProtobuf(body: Buffer): JsonObject {
  try {
    if (!body.subarray(0, 4).equals(MAGIC)) throw new RangeError("the body does not begin with the bytes k8s\\0");
    const { typeMeta, raw } = decodeMessage(UNKNOWN, body.subarray(4)) as {
      typeMeta?: { apiVersion?: string; kind?: string };
      raw?: string;
    };
    const { apiVersion = "", kind = "" } = typeMeta ?? {};
    return { apiVersion, kind, ...(decodeMessage(messageName(apiVersion, kind), Buffer.from(raw ?? "", "base64")) as JsonObject) };
  } catch (thrown) {
    if (thrown instanceof RangeError) throw badRequest(`cannot read the protobuf body: ${thrown.message}`);
    throw thrown;
  }
}

function messageName(apiVersion: string, kind: string): string {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const own = `k8s.io.api.${group.split(".")[0] || "core"}.${version}.${kind}`;
  return fieldsOf(own) ? own : `${META}.${kind}`;
}

let table: Readonly<Record<string, string>> | undefined;
const parsed = new Map<string, ReadonlyMap<number, Field>>();

function fieldsOf(message: string): ReadonlyMap<number, Field> | undefined {
  const known = parsed.get(message);
  if (known) return known;
  table ??= JSON.parse(readFileSync(join(import.meta.dirname, "fields.json"), "utf8")) as Record<string, string>;
  const line = table[message];
  if (line === undefined) return undefined;
  const fields = new Map<number, Field>();
  for (const entry of line.split(", ")) {
    const [, number, repeated, inlined, name = "", type = ""] = /^(\d+)(\*?)(\^?) (\S+) (\S+)$/.exec(entry) ?? [];
    fields.set(Number(number), { name, type, repeated: repeated === "*", inlined: inlined === "^" });
  }
  parsed.set(message, fields);
  return fields;
}

/** Go's special types are something else in JSON than the messages that carry them. */
const SPECIAL: Readonly<Record<string, (fields: JsonObject) => unknown>> = {
  [`${META}.Time`]: ({ seconds }) =>
    seconds === undefined ? undefined : new Date(Number(seconds) * 1000).toISOString().replace(".000", ""),
  [`${META}.MicroTime`]: ({ seconds, nanos }) => (seconds === undefined ? undefined : microTime(Number(seconds), Number(nanos ?? 0))),
  [`${META}.FieldsV1`]: ({ Raw }) => rawJson(Raw),
  [`${META}.Verbs`]: ({ items }) => items ?? [],
  "k8s.io.api.authorization.v1.ExtraValue": ({ items }) => items ?? [],
  "k8s.io.api.authentication.v1.ExtraValue": ({ items }) => items ?? [],
  "k8s.io.apimachinery.pkg.runtime.RawExtension": ({ raw }) => rawJson(raw),
  "k8s.io.apimachinery.pkg.api.resource.Quantity": ({ string }) => string,
  "k8s.io.apimachinery.pkg.util.intstr.IntOrString": ({ type, intVal, strVal }) => (type === 1 ? (strVal ?? "") : (intVal ?? 0)),
};

const microTime = (seconds: number, nanos: number): string =>
  new Date(seconds * 1000).toISOString().replace("000Z", `${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z`);

const rawJson = (base64: unknown): unknown =>
  typeof base64 === "string" ? JSON.parse(Buffer.from(base64, "base64").toString()) : undefined;

function decodeMessage(message: string, bytes: Buffer): unknown {
  const fields = fieldsOf(message);
  if (!fields) throw new RangeError(`the message ${message} is not known; send JSON`);
  const result: JsonObject = {};
  for (const wire of readFields(bytes)) {
    const field = fields.get(wire.number);
    if (field) addField(message, result, field, wire);
  }
  return SPECIAL[message]?.(result) ?? (SPECIAL[message] ? undefined : result);
}

function addField(message: string, result: JsonObject, field: Field, wire: WireField): void {
  if (field.repeated && field.type.endsWith("Entry") && field.type.startsWith(message)) {
    addEntry(result, field, wire);
    return;
  }
  const value = decodeValue(field.type, wire.value);
  if (field.repeated) {
    const list = result[field.name] ?? [];
    result[field.name] = [...(list as unknown[]), value];
  } else if (field.inlined) Object.assign(result, value);
  else if (value !== undefined && (value || keepsZero(message, field.name))) result[field.name] = value;
}

/** Maps are lists of key and value. */
function addEntry(result: JsonObject, field: Field, wire: WireField): void {
  const map = child(result, field.name);
  let key = "";
  let value: unknown;
  const types = fieldsOf(field.type);
  for (const part of readFields(wire.value as Buffer)) {
    const type = types?.get(part.number)?.type ?? "string";
    if (part.number === 1) key = String(decodeValue(type, part.value));
    else value = decodeValue(type, part.value);
  }
  if (key !== "__proto__") map[key] = value ?? "";
}

function decodeValue(type: string, value: bigint | Buffer): unknown {
  if (typeof value === "bigint") return type === "bool" ? value !== 0n : Number(BigInt.asIntN(64, value));
  if (type === "string") return value.toString();
  if (type === "bytes") return value.toString("base64");
  if (type === "double") return value.readDoubleLE();
  return decodeMessage(type, value);
}
