import type { Backend } from "./types.ts";

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

/** How far a backend's share may be from the ideal one, at least a place. */
const TOLERANCE = 0.02;

/**
 * Maglev hashing (Eisenbud et al., NSDI 2016), with another rule for whose turn it is. In the paper a backend's turn lasts until it has
 * found a free place, so one that leaves shifts all later turns, and places change hands between backends that stay. Here a turn is one
 * look at the next place of the backend's own permutation: who has a place earlier in its permutation gets it, whoever else is there.
 * Backends with 2 % more than their share stop, and the last places are kept for those with 2 % less.
 *
 * Shares are within 2 % of the ideal (or within a place, if that is more). When one of N backends leaves, on average at most 1.2/N of the
 * places change hands while N ≤ √size / 3 (42 backends with 16,381 places, 120 with 131,071); beyond, about 0.4/√size more (100 backends: 1.5/N
 * instead of the paper's 2.3/N). The places of the one that leaves fall to the others at random, and evening that out is the rest.
 * Throws RangeError for a size that is none of `MAGLEV_TABLE_SIZES`.
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
      const named = backends.map(({ address }, position) => ({ name: address.text, position }));
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

/** The fewest and the most places a backend may have. */
function bounds(size: number, count: number): { readonly least: number; readonly most: number } {
  const ideal = size / count;
  return {
    least: Math.min(Math.floor(ideal), Math.ceil(ideal * (1 - TOLERANCE))),
    most: Math.max(Math.ceil(ideal), Math.floor(ideal * (1 + TOLERANCE))),
  };
}

function fill(size: number, permutations: readonly Permutation[], positions: readonly number[]): Uint32Array {
  const { least, most } = bounds(size, permutations.length);
  const table = new Uint32Array(size).fill(FREE);
  const steps = Uint32Array.from(permutations, ({ step }) => step);
  const next = Uint32Array.from(permutations, ({ offset }) => offset);
  const got = new Uint32Array(permutations.length);
  const looking = Uint32Array.from(permutations, (_, i) => i);
  let free = size;
  let owed = least * permutations.length;
  for (let count = looking.length; free > 0; ) {
    let still = 0;
    for (let k = 0; k < count; k++) {
      const i = looking[k] as number;
      const at = next[i] as number;
      next[i] = (at + (steps[i] as number)) % size;
      const places = got[i] as number;
      // What is left is for those who have too little.
      if (places >= (free === owed ? least : most)) continue;
      looking[still++] = i;
      if (table[at] !== FREE) continue;
      table[at] = positions[i] as number;
      got[i] = places + 1;
      free -= 1;
      if (places < least) owed -= 1;
    }
    count = still;
  }
  return table;
}

/** FNV-1a, with MurmurHash3's last steps so that similar names end far apart. */
function hash(text: string, seed: number): number {
  let value = seed ^ 0x81_1c_9d_c5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01_00_01_93);
  value = Math.imul(value ^ (value >>> 16), 0x85_eb_ca_6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2_b2_ae_35);
  return (value ^ (value >>> 16)) >>> 0;
}
