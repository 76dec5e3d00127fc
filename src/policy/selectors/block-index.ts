import type { NumericIdentity } from "#types/identity.ts";
import type { Block } from "./block.ts";

/** So many leading bits, the family's 96 of IPv4 counted apart, tell one bucket from another: most blocks that rules name are as narrow. */
const BUCKET_BITS = 16;

const firstByte = ({ family }: Block) => (family === 4 ? 12 : 0);
const bitsOf = ({ family, bits }: Block) => (family === 4 ? bits - 96 : bits);

function bucketOf(block: Block): number {
  const at = firstByte(block);
  return (block.family * 256 + (block.bytes[at] ?? 0)) * 256 + (block.bytes[at + 1] ?? 0);
}

/** Identities by the address block that they stand for. */
export class BlockIndex {
  readonly #all = new Set<NumericIdentity>();
  readonly #buckets = new Map<number, Set<NumericIdentity>>();

  add(block: Block, id: NumericIdentity): void {
    this.#all.add(id);
    const bucket = this.#buckets.get(bucketOf(block));
    if (bucket === undefined) this.#buckets.set(bucketOf(block), new Set([id]));
    else bucket.add(id);
  }

  delete(block: Block, id: NumericIdentity): void {
    this.#all.delete(id);
    const bucket = this.#buckets.get(bucketOf(block));
    if (bucket?.delete(id) === true && bucket.size === 0) this.#buckets.delete(bucketOf(block));
  }

  /** All identities whose block lies within this one, and perhaps some others. */
  within(block: Block): Iterable<NumericIdentity> {
    return bitsOf(block) < BUCKET_BITS ? this.#all : (this.#buckets.get(bucketOf(block)) ?? []);
  }
}
