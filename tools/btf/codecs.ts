import { type BtfType, isBigEndian, type Member, resolve } from "./btf.ts";

/** `policy_key` → `PolicyKey`. */
export function pascalCase(name: string): string {
  return name
    .split("_")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
}

/** `sec_label` → `secLabel`. */
export function camelCase(name: string): string {
  const pascal = pascalCase(name);
  return pascal.charAt(0).toLowerCase() + pascal.slice(1);
}

interface Field {
  readonly name: string;
  readonly type: string;
  readonly encode: string;
  readonly decode: string;
}

/** The names of the structs that a struct's fields need, itself last. */
export function structsBehind(types: readonly BtfType[], index: number, found: Set<string> = new Set()): Set<string> {
  const type = resolve(types, index);
  if (type.kind === "array") structsBehind(types, type.type, found);
  if (type.kind === "struct") {
    for (const member of type.members) structsBehind(types, member.type, found);
    if (type.name !== "") found.add(type.name);
  }
  return found;
}

/** Interface and codec of one struct. Padding is left out and written as zero. */
export function structCode(types: readonly BtfType[], name: string): string {
  const struct = types.find((type) => type.kind === "struct" && type.name === name);
  if (struct?.kind !== "struct") throw new Error(`no struct ${name}`);
  const fields = struct.members.filter((member) => !PADDING.test(member.name)).map((member) => fieldOf(types, member, name));
  const pascal = pascalCase(name);
  const lines = [
    `/** C: \`struct ${name}\`, ${struct.size} bytes. */`,
    `export interface ${pascal} {`,
    ...fields.map((field) => `  readonly ${field.name}: ${field.type};`),
    "}",
    "",
    `export const ${camelCase(name)}: Codec<${pascal}> = {`,
    `  size: ${struct.size},`,
    "  encode(value, into, offset) {",
    ...(isDense(types, struct) ? [] : [`    into.fill(0, offset, offset + ${struct.size});`]),
    ...fields.map((field) => `    ${field.encode};`),
    "  },",
    "  decode: (from, offset) => ({",
    ...fields.map((field) => `    ${field.name}: ${field.decode},`),
    "  }),",
    "};",
  ];
  return `${lines.join("\n")}\n`;
}

const PADDING = /^pad\d*$/;
/** What is read where it lies: a captured packet, of which there is one in each event. */
const VIEWS: ReadonlySet<string> = new Set(["event.data"]);

/** Whether the fields alone write every byte: no padding, no bit-fields. */
function isDense(types: readonly BtfType[], struct: { readonly size: number; readonly members: readonly Member[] }): boolean {
  const own = struct.members.filter((member) => !PADDING.test(member.name));
  const written = own.reduce((sum, member) => sum + (member.bits > 0 ? 0 : sizeOf(types, member.type)), 0);
  return written === struct.size;
}

function fieldOf(types: readonly BtfType[], member: Member, struct: string): Field {
  const name = camelCase(member.name);
  const at = `offset + ${Math.floor(member.bitOffset / 8)}`;
  const type = resolve(types, member.type);
  if (member.bits > 0) return bitField(name, member, struct);
  if (type.kind === "int" || type.kind === "enum") {
    const signed = type.kind === "int" && type.signed;
    const method = accessor(type.size, signed, isBigEndian(types, member.type));
    return {
      name,
      type: type.size === 8 ? "bigint" : "number",
      encode: `into.write${method}(value.${name}, ${at})`,
      decode: `from.read${method}(${at})`,
    };
  }
  if (type.kind === "struct") {
    const codec = camelCase(type.name);
    return {
      name,
      type: pascalCase(type.name),
      encode: `${codec}.encode(value.${name}, into, ${at})`,
      decode: `${codec}.decode(from, ${at})`,
    };
  }
  if (type.kind === "array" && sizeOf(types, type.type) === 1) {
    return {
      name,
      type: "Uint8Array",
      encode: `writeBytes(value.${name}, into, ${at}, ${type.length})`,
      decode: `${VIEWS.has(`${struct}.${member.name}`) ? "viewBytes" : "readBytes"}(from, ${at}, ${type.length})`,
    };
  }
  const item = type.kind === "array" ? resolve(types, type.type) : undefined;
  if (type.kind === "array" && item?.kind === "struct") {
    return {
      name,
      type: `readonly ${pascalCase(item.name)}[]`,
      encode: `writeEach(${camelCase(item.name)}, value.${name}, into, ${at}, ${type.length})`,
      decode: `readEach(${camelCase(item.name)}, from, ${at}, ${type.length})`,
    };
  }
  throw new Error(`struct ${struct}: the field ${member.name} has a type that has no codec`);
}

function bitField(name: string, member: Member, struct: string): Field {
  const shift = member.bitOffset % 8;
  if (shift + member.bits > 8) throw new Error(`struct ${struct}: the bit-field ${member.name} crosses a byte`);
  const at = `offset + ${Math.floor(member.bitOffset / 8)}`;
  const mask = `0x${(2 ** member.bits - 1).toString(16)}`;
  return {
    name,
    type: "number",
    encode: `into.writeUInt8(into.readUInt8(${at}) | ((value.${name} & ${mask}) << ${shift}), ${at})`,
    decode: `(from.readUInt8(${at}) >> ${shift}) & ${mask}`,
  };
}

function accessor(size: number, signed: boolean, bigEndian: boolean): string {
  const order = size === 1 ? "" : bigEndian ? "BE" : "LE";
  return `${size === 8 ? "Big" : ""}${signed ? "Int" : "UInt"}${size * 8}${order}`;
}

export function sizeOf(types: readonly BtfType[], index: number): number {
  const type = resolve(types, index);
  if (type.kind === "int" || type.kind === "enum" || type.kind === "struct" || type.kind === "union") return type.size;
  if (type.kind === "array") return type.length * sizeOf(types, type.type);
  throw new Error(`a ${type.kind} has no size`);
}

/** The codec for a map's key or value: that of a struct, or a bare number. */
export function codecName(types: readonly BtfType[], index: number): string {
  const type = resolve(types, index);
  if (type.kind === "struct") return camelCase(type.name);
  if (type.kind === "int") return `${type.signed ? "i" : "u"}${type.size * 8}`;
  throw new Error(`a map's key or value of kind ${type.kind} has no codec`);
}

/** The TypeScript type that belongs to `codecName`. */
export function codecType(types: readonly BtfType[], index: number): string {
  const type = resolve(types, index);
  if (type.kind === "struct") return pascalCase(type.name);
  return sizeOf(types, index) === 8 ? "bigint" : "number";
}
