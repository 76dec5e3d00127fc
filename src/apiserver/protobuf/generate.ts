import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { modelSchema } from "../schema/models.ts";
import { readFields } from "./wire.ts";

/**
 * Writes `fields.json`: the field numbers of Kubernetes' protobuf encoding, which `kubectl create` and Helm speak. They are
 * read from the descriptors that every kubectl carries: `node src/apiserver/protobuf/generate.ts PATH-OF-KUBECTL`.
 */

const WANTED =
  /^k8s\.io\.(api\.(core|apps|batch|networking|rbac|policy|scheduling|storage|discovery|coordination|autoscaling|authentication|authorization|events|node|admissionregistration)\.v[12]|apimachinery\.pkg\.(apis\.meta\.v1|api\.resource|runtime|util\.intstr))$/;

const TYPES: Readonly<Record<number, string>> = {
  1: "double",
  3: "int",
  4: "int",
  5: "int",
  8: "bool",
  9: "string",
  12: "bytes",
  13: "int",
};

interface Field {
  readonly name: string;
  readonly number: number;
  readonly repeated: boolean;
  readonly type: string;
}

type Wire = ReturnType<typeof fieldsOf>;

const fieldsOf = (bytes: Buffer) => [...readFields(bytes)];
const buffers = (fields: Wire, number: number): Buffer[] =>
  fields.flatMap((field) => (field.number === number && Buffer.isBuffer(field.value) ? [field.value] : []));
const text = (fields: Wire, number: number): string => buffers(fields, number)[0]?.toString() ?? "";
const numeric = (fields: Wire, number: number): number => Number(fields.find((field) => field.number === number)?.value ?? 0);

/** The gzipped file descriptors in a Go program. */
function* descriptors(program: Buffer): Generator<Wire> {
  const magic = Buffer.from([0x1f, 0x8b, 0x08]);
  for (let at = program.indexOf(magic); at >= 0; at = program.indexOf(magic, at + 1)) {
    try {
      const file = gunzipSync(program.subarray(at, at + 200_000), { finishFlush: 2 });
      if (file.subarray(0, 100).includes("k8s.io")) yield fieldsOf(file);
    } catch {
      // Three bytes that happen to look like gzip.
    }
  }
}

function readMessages(pack: string, message: Buffer, out: Map<string, readonly Field[]>): void {
  const fields = fieldsOf(message);
  const name = `${pack}.${text(fields, 1)}`;
  out.set(
    name,
    buffers(fields, 2).map((bytes) => {
      const field = fieldsOf(bytes);
      const type = TYPES[numeric(field, 5)] ?? text(field, 6).slice(1);
      return { name: text(field, 1), number: numeric(field, 3), repeated: numeric(field, 4) === 3, type };
    }),
  );
  for (const nested of buffers(fields, 3)) readMessages(name, nested, out);
}

/** Go embeds some structs, whose fields JSON then shows in the outer object; the type declarations tell which. */
function isInlined(message: string, field: Field): boolean {
  const [, group = "", version = "", type = ""] = /\.(\w+)\.(v\d)\.(\w+)$/.exec(message) ?? [];
  if (field.repeated || !field.type.includes(".")) return false;
  try {
    const { properties } = modelSchema(`${group}/${version}.${type}`);
    return (
      properties !== undefined &&
      Object.keys(properties).length > 0 &&
      !(field.name in properties) &&
      /(Source|Handler|Reference|Common|RuleValue)$/i.test(field.name)
    );
  } catch {
    return false;
  }
}

const messages = new Map<string, readonly Field[]>();
for (const file of descriptors(readFileSync(process.argv[2] ?? ""))) {
  const pack = text(file, 2);
  if (WANTED.test(pack)) for (const message of buffers(file, 4)) readMessages(pack, message, messages);
}
const lines = [...messages]
  .filter(([name]) => !name.endsWith("List"))
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, fields]) => {
    const written = fields.map(
      (field) => `${field.number}${field.repeated ? "*" : ""}${isInlined(name, field) ? "^" : ""} ${field.name} ${field.type}`,
    );
    return `  ${JSON.stringify(name)}: ${JSON.stringify(written.join(", "))}`;
  });
writeFileSync(join(import.meta.dirname, "fields.json"), `{\n${lines.join(",\n")}\n}\n`);
