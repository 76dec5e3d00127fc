import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as structs from "#datapath/gen/structs.ts";
import type { Codec } from "#ebpf/codec.ts";

const codecs = Object.entries(structs) as unknown as readonly [string, Codec<unknown>][];

describe("generated codecs", () => {
  for (const [name, codec] of codecs) {
    it(`${name} gives back what it was given, and overwrites what was there`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: codec.size + 3, maxLength: codec.size + 3 }), fc.nat(3), (bytes, offset) => {
          const value = codec.decode(Buffer.from(bytes), offset);
          const [zeros, ones] = [Buffer.alloc(codec.size + 3), Buffer.alloc(codec.size + 3, 0xff)];
          codec.encode(value, zeros, offset);
          codec.encode(value, ones, offset);
          assert.deepEqual(codec.decode(zeros, offset), value);
          assert.deepEqual(zeros.subarray(offset, offset + codec.size), ones.subarray(offset, offset + codec.size));
          assert.ok(
            ones.subarray(0, offset).every((byte) => byte === 0xff) && ones.subarray(offset + codec.size).every((byte) => byte === 0xff),
          );
        }),
        { numRuns: 50 },
      );
    });
  }

  it("refuse an address that is not 16 bytes", () => {
    assert.throws(() => structs.addr16.encode({ bytes: new Uint8Array(4) }, Buffer.alloc(16), 0), RangeError);
  });
});
