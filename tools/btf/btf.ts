import { textAt } from "./elf.ts";

export interface Member {
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** Width of a bit-field; 0 for an ordinary member. */
  readonly bits: number;
}

/** A BTF type, as far as eBPF maps, structs and enums need it. Types refer to each other by number. */
export type BtfType =
  | { readonly kind: "int"; readonly name: string; readonly size: number; readonly signed: boolean }
  | { readonly kind: "pointer"; readonly type: number }
  | { readonly kind: "array"; readonly type: number; readonly length: number }
  | { readonly kind: "struct" | "union"; readonly name: string; readonly size: number; readonly members: readonly Member[] }
  | {
      readonly kind: "enum";
      readonly name: string;
      readonly size: number;
      readonly values: readonly (readonly [name: string, value: number])[];
    }
  | { readonly kind: "typedef" | "qualifier"; readonly name: string; readonly type: number }
  | { readonly kind: "variable"; readonly name: string; readonly type: number }
  | {
      readonly kind: "section";
      readonly name: string;
      readonly variables: readonly { readonly type: number; readonly offset: number; readonly size: number }[];
    }
  | { readonly kind: "tag"; readonly text: string; readonly type: number; readonly component: number }
  /** A struct that is only named: what it holds is in another object. */
  | { readonly kind: "forward"; readonly name: string }
  | { readonly kind: "other"; readonly name: string };

const HEADER_BYTES = 24;

/** Reads a `.BTF` section. The result's index is the type's number; 0 is `void`. Source: Documentation/bpf/btf.rst. */
export function readBtf(data: Buffer): BtfType[] {
  if (data.readUInt16LE(0) !== 0xeb9f) throw new Error("not BTF");
  const base = data.readUInt32LE(4);
  const types = data.subarray(base + data.readUInt32LE(8), base + data.readUInt32LE(8) + data.readUInt32LE(12));
  const strings = data.subarray(base + data.readUInt32LE(16), base + data.readUInt32LE(16) + data.readUInt32LE(20));
  if (base !== HEADER_BYTES) throw new Error(`BTF header of ${base} bytes, ${HEADER_BYTES} expected`);
  const found: BtfType[] = [{ kind: "other", name: "void" }];
  let offset = 0;
  while (offset < types.length) {
    const { type, bytes } = readType(types.subarray(offset), (at) => textAt(strings, at));
    found.push(type);
    offset += bytes;
  }
  return found;
}

function readType(data: Buffer, text: (offset: number) => string): { type: BtfType; bytes: number } {
  const name = text(data.readUInt32LE(0));
  const info = data.readUInt32LE(4);
  const word = data.readUInt32LE(8);
  const count = info & 0xffff;
  const bitFields = info >>> 31 === 1;
  const rest = data.subarray(12);
  const at = (index: number) => rest.readUInt32LE(index * 4);
  const made = (type: BtfType, extraBytes = 0) => ({ type, bytes: 12 + extraBytes });
  switch ((info >>> 24) & 0x1f) {
    case 1:
      return made({ kind: "int", name, size: word, signed: ((at(0) >>> 24) & 1) === 1 }, 4);
    case 2:
      return made({ kind: "pointer", type: word });
    case 3:
      return made({ kind: "array", type: at(0), length: at(2) }, 12);
    case 4:
    case 5: {
      const members = Array.from({ length: count }, (_, index): Member => {
        const offset = at(index * 3 + 2);
        return {
          name: text(at(index * 3)),
          type: at(index * 3 + 1),
          bitOffset: bitFields ? offset & 0xffffff : offset,
          bits: bitFields ? offset >>> 24 : 0,
        };
      });
      return made({ kind: ((info >>> 24) & 0x1f) === 4 ? "struct" : "union", name, size: word, members }, count * 12);
    }
    case 6: {
      const values = Array.from({ length: count }, (_, index) => [text(at(index * 2)), rest.readInt32LE(index * 8 + 4)] as const);
      return made({ kind: "enum", name, size: word, values }, count * 8);
    }
    case 7:
      return made({ kind: "forward", name });
    case 8:
      return made({ kind: "typedef", name, type: word });
    case 9:
    case 10:
    case 11:
    case 18:
      return made({ kind: "qualifier", name, type: word });
    case 14:
      return made({ kind: "variable", name, type: word }, 4);
    case 15: {
      const variables = Array.from({ length: count }, (_, index) => ({
        type: at(index * 3),
        offset: at(index * 3 + 1),
        size: at(index * 3 + 2),
      }));
      return made({ kind: "section", name, variables }, count * 12);
    }
    case 17:
      return made({ kind: "tag", text: name, type: word, component: rest.readInt32LE(0) }, 4);
    default:
      return made({ kind: "other", name }, sizeOfOther((info >>> 24) & 0x1f, count));
  }
}

/** Bytes behind the header of the kinds that we pass over. */
function sizeOfOther(kind: number, count: number): number {
  if (kind === 13) return count * 8; // FUNC_PROTO
  if (kind === 19) return count * 12; // ENUM64
  if (kind === 12 || kind === 16) return 0; // FUNC, FLOAT
  throw new Error(`BTF kind ${kind} is not known`);
}

/** Follows typedefs and qualifiers to the type behind them. */
export function resolve(types: readonly BtfType[], index: number): BtfType {
  let type = types[index];
  while (type?.kind === "typedef" || type?.kind === "qualifier") type = types[type.type];
  if (!type) throw new Error(`BTF type ${index} does not exist`);
  return type;
}

/** Whether a `__be16`, `__be32` or `__be64` is among the typedefs on the way to the type. */
export function isBigEndian(types: readonly BtfType[], index: number): boolean {
  let type = types[index];
  while (type?.kind === "typedef" || type?.kind === "qualifier") {
    if (type.name.startsWith("__be")) return true;
    type = types[type.type];
  }
  return false;
}
