import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { type BtfType, readBtf, resolve } from "./btf.ts";
import { readSections, readSymbols } from "./elf.ts";

/** What one compiled object says about its types, maps and load-time constants. */
export interface ObjectFacts {
  readonly name: string;
  readonly types: readonly BtfType[];
  readonly maps: readonly MapFacts[];
  readonly constants: readonly ConstantFacts[];
  /** Bytes of `.rodata.config`. */
  readonly configSize: number;
}

export interface MapFacts {
  readonly name: string;
  /** Number of `enum bpf_map_type`. */
  readonly type: number;
  /** BTF types of key and value; absent for a ring buffer, and the value of a map of maps. */
  readonly key?: number;
  readonly value?: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly inner?: MapFacts;
}

export interface ConstantFacts {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
  readonly help: string;
  /** Value as compiled. */
  readonly initial: number;
}

export function readObject(path: string): ObjectFacts {
  const sections = readSections(readFileSync(path));
  const data = (name: string) => sections.find((section) => section.name === name)?.data;
  const btf = data(".BTF");
  if (!btf) throw new Error(`${path}: no BTF; was it compiled with -g?`);
  const types = readBtf(btf);
  const variables = (section: string) =>
    types.flatMap((type) => (type.kind === "section" && type.name === section ? type.variables : [])).map(({ type }) => type);
  const config = data(".rodata.config") ?? Buffer.alloc(0);
  const symbols = readSymbols(sections);
  return {
    name: basename(path, ".o"),
    types,
    maps: variables(".maps")
      .map((index) => readMap(types, index))
      .filter((map) => isComplete(types, map)),
    constants: variables(".rodata.config").map((index) => readConstant(types, index, symbols, config)),
    configSize: config.length,
  };
}

function readMap(types: readonly BtfType[], variable: number): MapFacts {
  const found = types[variable];
  if (found?.kind !== "variable") throw new Error("a map that is no variable");
  return { ...readMapDefinition(types, found.type), name: found.name };
}

/** Whether the object knows the key and value of the map and of what it holds, and not only their names. */
function isComplete(types: readonly BtfType[], map: MapFacts): boolean {
  const known = [map.key, map.value].every((index) => index === undefined || resolve(types, index).kind !== "forward");
  return known && (map.inner === undefined || isComplete(types, map.inner));
}

/** `__uint(name, n)` is a pointer to an array of n, `__type(name, T)` a pointer to T, `__array(values, T)` an array of pointers to T. */
function readMapDefinition(types: readonly BtfType[], index: number): MapFacts {
  const definition = resolve(types, index);
  if (definition.kind !== "struct") throw new Error("a map definition that is no struct");
  const target = (name: string) => {
    const member = definition.members.find((one) => one.name === name);
    const type = member && resolve(types, member.type);
    return type?.kind === "pointer" || type?.kind === "array" ? type.type : undefined;
  };
  const number = (name: string) => {
    const array = target(name);
    const type = array === undefined ? undefined : resolve(types, array);
    return type?.kind === "array" ? type.length : 0;
  };
  const values = target("values");
  const inner = values === undefined ? undefined : resolve(types, values);
  const [key, value] = [target("key"), target("value")];
  return {
    name: definition.name,
    type: number("type"),
    ...(key === undefined ? {} : { key }),
    ...(value === undefined ? {} : { value }),
    maxEntries: number("max_entries"),
    flags: number("map_flags"),
    ...(inner?.kind === "pointer" ? { inner: readMapDefinition(types, inner.type) } : {}),
  };
}

function readConstant(types: readonly BtfType[], index: number, symbols: ReadonlyMap<string, number>, config: Buffer): ConstantFacts {
  const variable = types[index];
  if (variable?.kind !== "variable") throw new Error("a constant that is no variable");
  const type = resolve(types, variable.type);
  if (type.kind !== "int") throw new Error(`the constant ${variable.name} is no number`);
  const offset = symbols.get(variable.name) ?? 0;
  const tag = types.find((one) => one.kind === "tag" && one.type === index);
  const initial = type.signed ? config.readIntLE(offset, type.size) : config.readUIntLE(offset, type.size);
  return { name: variable.name, offset, size: type.size, signed: type.signed, help: tag?.kind === "tag" ? tag.text : "", initial };
}
