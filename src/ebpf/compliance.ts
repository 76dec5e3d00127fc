import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isKernelError } from "#sys/kernel-error.ts";
import type { Bpf } from "./bpf.ts";
import { u16, u32, u64 } from "./codec.ts";
import { ShapeError } from "./errors.ts";
import { MAP_TYPE, type MapOfMapsSpec, type MapSpec, NO_PREALLOC } from "./spec.ts";

const hash: MapSpec<number, bigint> = { name: "compliance", type: MAP_TYPE.hash, key: u32, value: u64, maxEntries: 8, flags: NO_PREALLOC };
const outer: MapOfMapsSpec<number, number, bigint> = {
  ...hash,
  name: "outer",
  type: MAP_TYPE.hashOfMaps,
  value: u32,
  flags: 0,
  inner: hash,
};

interface TrieKey {
  readonly bits: number;
  readonly data: number;
}

const trie: MapSpec<TrieKey, number> = {
  name: "trie",
  type: MAP_TYPE.lpmTrie,
  key: {
    size: 8,
    encode(value, into, offset) {
      into.writeUInt32LE(value.bits, offset);
      into.writeUInt32BE(value.data, offset + 4);
    },
    decode: (from, offset) => ({ bits: from.readUInt32LE(offset), data: from.readUInt32BE(offset + 4) }),
  },
  value: u16,
  maxEntries: 8,
  flags: NO_PREALLOC,
};

/** What every `Bpf` must do. `open` gives one and a directory for its pins; `skip` says why it cannot be run here. */
export function bpfCompliance(name: string, open: () => { bpf: Bpf; pins: string }, skip: string | false = false): void {
  describe(`${name} as Bpf`, { skip }, () => {
    it("reads back what was written, and nothing else", () => {
      using map = open().bpf.createMap(hash);
      map.set(1, 10n);
      map.setMany([
        [2, 20n],
        [3, 30n],
      ]);
      assert.equal(map.get(2), 20n);
      assert.equal(map.get(9), undefined);
      assert.equal(map.has(3), true);
      assert.deepEqual(
        [...map.entries()].sort(([a], [b]) => a - b),
        [
          [1, 10n],
          [2, 20n],
          [3, 30n],
        ],
      );
    });

    it("deletes what is there and says when nothing was", () => {
      using map = open().bpf.createMap(hash);
      map.set(1, 10n);
      assert.equal(map.delete(1), true);
      assert.equal(map.delete(1), false);
      map.setMany([1, 2, 3].map((key) => [key, 0n]));
      assert.equal(map.deleteMany([1, 3, 5]), 2);
      assert.deepEqual([...map.keys()], [2]);
    });

    it("lets the key just given be deleted while walking", () => {
      using map = open().bpf.createMap(hash);
      map.setMany([1, 2, 3, 4, 5].map((key) => [key, 0n]));
      const seen: number[] = [];
      for (const key of map.keys()) {
        seen.push(key);
        map.delete(key);
      }
      assert.deepEqual(
        seen.sort((a, b) => a - b),
        [1, 2, 3, 4, 5],
      );
      assert.deepEqual([...map.keys()], []);
    });

    it("refuses a new entry that is there, an existing one that is not, and one too many", () => {
      using map = open().bpf.createMap(hash);
      map.set(1, 1n, "new");
      assert.throws(
        () => map.set(1, 1n, "new"),
        (error) => isKernelError(error, "EEXIST"),
      );
      assert.throws(
        () => map.set(2, 1n, "existing"),
        (error) => isKernelError(error, "ENOENT"),
      );
      for (let key = 2; key <= 8; key++) map.set(key, 0n);
      assert.throws(
        () => map.set(9, 0n),
        (error) => isKernelError(error, "E2BIG", "ENOSPC"),
      );
      assert.throws(() => map.get(-1), RangeError);
    });

    it("finds the longest prefix in a trie, and deletes exactly", () => {
      using map = open().bpf.createMap(trie);
      map.set({ bits: 8, data: 0x0a000000 }, 8);
      map.set({ bits: 20, data: 0x0a010000 }, 20);
      assert.equal(map.get({ bits: 32, data: 0x0a010203 }), 20);
      assert.equal(map.get({ bits: 32, data: 0x0a020203 }), 8);
      assert.equal(map.get({ bits: 32, data: 0x0b000000 }), undefined);
      assert.equal(map.delete({ bits: 32, data: 0x0a010203 }), false);
      assert.equal(map.delete({ bits: 20, data: 0x0a010000 }), true);
      assert.equal(map.get({ bits: 32, data: 0x0a010203 }), 8);
    });

    it("writes, reads and deletes many", () => {
      using map = open().bpf.createMap({ ...hash, maxEntries: 10_000 });
      const keys = Array.from({ length: 5000 }, (_, i) => i);
      map.setMany(keys.map((key) => [key, BigInt(key)] as const));
      const found = [...map.entries()].sort(([a], [b]) => a - b);
      assert.deepEqual(
        found,
        keys.map((key) => [key, BigInt(key)]),
      );
      assert.equal(map.deleteMany(Array.from({ length: 6000 }, (_, i) => i * 2)), 2500);
      assert.equal([...map.keys()].length, 2500);
      using prefixes = open().bpf.createMap({ ...trie, maxEntries: 3000 });
      prefixes.setMany(keys.slice(0, 3000).map((key) => [{ bits: 32, data: key }, key] as const));
      assert.equal([...prefixes.entries()].filter(([key, value]) => key.data === value).length, 3000);
      assert.throws(
        () => prefixes.setMany([[{ bits: 32, data: 9999 }, 1]]),
        (error) => isKernelError(error, "E2BIG", "ENOSPC"),
      );
    });

    it("keeps inner maps in a map of maps, shared and by number", () => {
      using map = open().bpf.createMapOfMaps(outer);
      using inner = map.createInner();
      map.set(1, inner);
      map.set(2, inner);
      inner.set(7, 70n);
      using again = map.get(2);
      assert.equal(again?.get(7), 70n);
      assert.equal(map.innerId(1), map.innerId(2));
      assert.equal(map.get(3), undefined);
      assert.equal(map.delete(1), true);
      assert.deepEqual([...map.keys()], [2]);
    });

    it("gives each CPU a value", () => {
      const { bpf, pins } = open();
      const spec = { ...hash, type: MAP_TYPE.percpuHash, flags: 0 };
      using made = bpf.ensureMap(spec, `${pins}/percpu`).map;
      assert.equal(made.name, spec.name);
      using map = bpf.openPerCpuMap(spec, `${pins}/percpu`);
      map.set(1, 5n);
      const values = map.get(1) ?? [];
      assert.ok(values.length > 0);
      assert.deepEqual(new Set(values), new Set([5n]));
      assert.deepEqual([...map.entries()], [[1, values]]);
      assert.equal(map.delete(1), true);
      assert.equal(map.get(1), undefined);
    });

    it("finds pinned maps, with their content, and refuses another shape", () => {
      const { bpf, pins } = open();
      const path = `${pins}/pinned`;
      assert.throws(
        () => bpf.openMap(hash, path),
        (error) => isKernelError(error, "ENOENT"),
      );
      const made = bpf.createMap(hash);
      made.pin(path);
      made.set(1, 11n);
      assert.throws(
        () => bpf.createMap(hash).pin(path),
        (error) => isKernelError(error, "EEXIST"),
      );
      made.close();
      using found = bpf.openMap(hash, path);
      assert.equal(found.get(1), 11n);
      assert.throws(() => bpf.openMap({ ...hash, value: u32 }, path), ShapeError);
    });

    it("ensures a map: creates it, opens it, replaces one of another shape", () => {
      const { bpf, pins } = open();
      const path = `${pins}/ensured`;
      assert.equal(bpf.ensureMap(hash, path).outcome, "created");
      bpf.openMap(hash, path).set(1, 1n);
      const again = bpf.ensureMap(hash, path);
      assert.equal(again.outcome, "opened");
      assert.equal(again.map.get(1), 1n);
      const other = bpf.ensureMap({ ...hash, value: u32 }, path);
      assert.equal(other.outcome, "replaced");
      assert.equal(other.map.get(1), undefined);
    });

    it("refuses to use a closed handle", () => {
      const map = open().bpf.createMap(hash);
      map.close();
      map.close();
      assert.throws(() => map.get(1), TypeError);
    });
  });
}
