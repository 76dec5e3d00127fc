import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMaglev, MAGLEV_TABLE_SIZES } from "./maglev.ts";
import { type Backend, formatL4Address, parseL4Address } from "./types.ts";

const backends = (count: number): Backend[] =>
  Array.from({ length: count }, (_, i) => ({
    address: { ip: `10.244.${i >> 8}.${i & 255}`, port: 8080, protocol: "TCP" },
    state: "active",
  }));

/** Part of the places whose backend is another one, times the number of backends: 1 when only those of the one that left moved. */
function movedShare(size: number, count: number, leaving: number): number {
  const maglev = createMaglev(size);
  const all = backends(count);
  const left = all.filter((_, i) => i !== leaving);
  const [before, after] = [maglev.table(all), maglev.table(left)];
  let moved = 0;
  for (let place = 0; place < size; place++) if (all[before[place] ?? -1] !== left[after[place] ?? -1]) moved += 1;
  return (moved * count) / size;
}

describe("createMaglev", () => {
  it("gives every backend its share: the ideal one, to a place", () => {
    for (const count of [1, 3, 10, 100]) {
      const table = createMaglev(16_381).table(backends(count));
      const shares = Array.from({ length: count }, (_, i) => table.filter((position) => position === i).length);
      assert.ok(Math.max(...shares) - Math.min(...shares) <= 1, `${count} backends: ${Math.min(...shares)} to ${Math.max(...shares)}`);
    }
  });
  it("moves little more than the places of the backend that leaves", () => {
    for (const count of [2, 3, 5, 10, 20]) {
      const share = movedShare(16_381, count, count >> 1);
      assert.ok(share >= 0.99 && share <= 1.2, `${count} backends: ${share}`);
    }
  });
  it("makes the same table of the same backends in any order", () => {
    const maglev = createMaglev(1021);
    const [all, turned] = [backends(7), backends(7).reverse()];
    const names = (list: Backend[]) => Array.from(maglev.table(list), (position) => list[position]?.address.ip);
    assert.deepEqual(names(turned), names(all));
  });
  it("has nothing to say without backends, and refuses sizes whose tables would have holes", () => {
    assert.equal(createMaglev(251).table([]).length, 0);
    assert.throws(() => createMaglev(16_384), /bpf-lb-maglev-table-size: found 16384, allowed are 251, 509/);
  });
  it("is made for primes only", () => {
    for (const size of MAGLEV_TABLE_SIZES) {
      for (let divisor = 2; divisor * divisor <= size; divisor++)
        assert.notEqual(size % divisor, 0, `${size} is ${divisor} times something`);
    }
  });
});

describe("L4 addresses", () => {
  it("are read as they are written", () => {
    for (const text of ["10.96.0.1:443/TCP", "[fd00::1]:53/UDP", "0.0.0.0:31080/SCTP"])
      assert.equal(formatL4Address(parseL4Address(text)), text);
    assert.throws(() => parseL4Address("10.96.0.1"), RangeError);
  });
});
