import { type Backend, formatL4Address } from "./types.ts";

/** Primes: any step then visits every place of the table. Upstream's allowed sizes. */
export const MAGLEV_TABLE_SIZES = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071] as const;

/** Where a backend starts in the table and how far it steps. */
interface Permutation {
  readonly offset: number;
  readonly step: number;
}

/** Makes lookup tables; every node makes the same one of the same backends. */
export interface Maglev {
  readonly size: number;
  /** For each place of the table the position in `backends` that has it; empty without backends. Their order does not matter. */
  table(backends: readonly Backend[]): Uint32Array;
}

/**
 * Maglev hashing (Eisenbud et al., NSDI 2016): backends take turns, each takes the next free place of its own permutation. Shares
 * differ by one place at most; when a backend leaves, little but its own places moves. Throws RangeError for a size that is none of
 * `MAGLEV_TABLE_SIZES`.
 */
export function createMaglev(size: number): Maglev {
  if (!(MAGLEV_TABLE_SIZES as readonly number[]).includes(size)) {
    throw new RangeError(`bpf-lb-maglev-table-size: found ${size}, allowed are ${MAGLEV_TABLE_SIZES.join(", ")}`);
  }
  const known = new Map<string, Permutation>();
  const permutationOf = (name: string): Permutation => {
    const found = known.get(name);
    if (found !== undefined) return found;
    const made = { offset: hash(name, 0x51_7c_c1_b7) % size, step: (hash(name, 0x27_22_0a_95) % (size - 1)) + 1 };
    // Backends come and go for ever; what is hashed once too often costs a microsecond.
    if (known.size >= 65_536) known.clear();
    known.set(name, made);
    return made;
  };
  return {
    size,
    table(backends) {
      if (backends.length === 0) return new Uint32Array(0);
      const named = backends.map(({ address }, position) => ({ name: formatL4Address(address), position }));
      named.sort((a, b) => (a.name < b.name ? -1 : 1));
      return fill(
        size,
        named.map(({ name }) => permutationOf(name)),
        named.map(({ position }) => position),
      );
    },
  };
}

const FREE = 0xffff_ffff;

function fill(size: number, permutations: readonly Permutation[], positions: readonly number[]): Uint32Array {
  const table = new Uint32Array(size).fill(FREE);
  const steps = Uint32Array.from(permutations, ({ step }) => step);
  const next = Uint32Array.from(permutations, ({ offset }) => offset);
  for (let filled = 0; ; ) {
    for (let i = 0; i < next.length; i++) {
      const step = steps[i] as number;
      let at = next[i] as number;
      while (table[at] !== FREE) at = (at + step) % size;
      table[at] = positions[i] as number;
      next[i] = (at + step) % size;
      if (++filled === size) return table;
    }
  }
}

/** FNV-1a, with MurmurHash3's last steps so that similar names end far apart. */
function hash(text: string, seed: number): number {
  let value = seed ^ 0x81_1c_9d_c5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01_00_01_93);
  value = Math.imul(value ^ (value >>> 16), 0x85_eb_ca_6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2_b2_ae_35);
  return (value ^ (value >>> 16)) >>> 0;
}
