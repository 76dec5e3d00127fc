import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { addressFromBytes } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { type Prefix, prefixContains, prefixOf } from "#types/prefix.ts";
import { blockOf } from "./block.ts";
import { BlockIndex } from "./block-index.ts";

/** Blocks of both families, many of which lie within each other. */
const prefixes = fc
  .record({ v6: fc.boolean(), bytes: fc.array(fc.constantFrom(10, 11), { minLength: 4, maxLength: 4 }), bits: fc.nat(32) })
  .map(({ v6, bytes, bits }): Prefix => {
    const mapped = v6 ? [...bytes, ...Array<number>(12).fill(0)] : [...Array<number>(10).fill(0), 255, 255, ...bytes];
    return prefixOf(addressFromBytes(Uint8Array.from(mapped)), bits);
  });

const idOf = (i: number) => NumericIdentity(1000 + i);
const isGone = (i: number) => i % 3 === 0;

function indexOf(all: readonly Prefix[]): BlockIndex {
  const index = new BlockIndex();
  for (const [i, one] of all.entries()) index.add(blockOf(one), idOf(i));
  for (const [i, one] of all.entries()) if (isGone(i)) index.delete(blockOf(one), idOf(i));
  return index;
}

describe("BlockIndex", () => {
  it("gives all blocks that lie within one, and none that is gone (200 runs)", () => {
    fc.assert(
      fc.property(fc.array(prefixes, { maxLength: 30 }), prefixes, (all, outer) => {
        const found = new Set(indexOf(all).within(blockOf(outer)));
        const inside = all.flatMap((one, i) => (prefixContains(outer, one) && !isGone(i) ? [idOf(i)] : []));
        assert.deepEqual(
          inside.filter((id) => !found.has(id)),
          [],
        );
        assert.ok(all.every((_, i) => !isGone(i) || !found.has(idOf(i))));
      }),
      { numRuns: 200 },
    );
  });
});
