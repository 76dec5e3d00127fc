import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMaglev, MAGLEV_TABLE_SIZES } from "./maglev.ts";
import { type Backend, l4Address, parseL4Address } from "./types.ts";

const backends = (count: number): Backend[] =>
  Array.from({ length: count }, (_, i) => ({
    address: l4Address(`10.244.${i >> 8}.${i & 255}`, 8080, "TCP"),
    state: "active",
  }));

/** The backends in every place of the table, by address. */
function owners(size: number, of: readonly Backend[]): (string | undefined)[] {
  return Array.from(createMaglev(size).table(of), (position) => of[position]?.address.ip);
}

/** Part of the places whose backend is another one, times the number of backends: 1 when only those of the one that left moved. */
function movedShare(size: number, count: number, leaving: number): number {
  const all = backends(count);
  const [before, after] = [
    owners(size, all),
    owners(
      size,
      all.filter((_, i) => i !== leaving),
    ),
  ];
  return (before.filter((ip, place) => ip !== after[place]).length * count) / size;
}

describe("createMaglev", () => {
  it("gives each of up to 200 backends its share: the ideal one within 2 %, or within a place", () => {
    for (const size of [16_381, 65_521]) {
      for (const count of [1, 2, 3, 4, 5, 7, 10, 16, 25, 47, 64, 99, 100, 128, 163, 164, 199, 200]) {
        const shares = new Uint32Array(count);
        for (const position of createMaglev(size).table(backends(count))) shares[position] = (shares[position] ?? 0) + 1;
        const ideal = size / count;
        for (const share of shares) {
          assert.ok(Math.abs(share - ideal) <= Math.max(0.02 * ideal, 1), `${count} backends, ${size} places: ${share}, ideal ${ideal}`);
        }
      }
    }
  });
  it("moves at most 1.2 times the places of the backend that leaves or joins, for up to √size / 3 backends", () => {
    for (const [size, counts] of [
      [16_381, [2, 3, 5, 10, 20, 33, 42]],
      [65_521, [64, 85]],
      [131_071, [120]],
    ] as const) {
      for (const count of counts) {
        for (const leaving of [0, count >> 1, count - 1]) {
          const share = movedShare(size, count, leaving);
          assert.ok(share >= 0.98 && share <= 1.2, `${count} backends, ${size} places: ${share}`);
        }
      }
    }
  });
  it("moves fewer places than the paper's rule beyond that: 1.5 of 100 backends, which is 2.3 there", () => {
    for (const leaving of [0, 50, 99]) assert.ok(movedShare(16_381, 100, leaving) < 1.6);
  });
  it("depends on who is there, not on who was: the one that comes back finds its places", () => {
    const [maglev, all] = [createMaglev(1021), backends(9)];
    const first = maglev.table(all);
    maglev.table(all.slice(1));
    assert.deepEqual(maglev.table(all), first);
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
    for (const text of ["10.96.0.1:443/TCP", "[fd00::1]:53/UDP", "0.0.0.0:31080/SCTP"]) assert.equal(parseL4Address(text).text, text);
    assert.throws(() => parseL4Address("10.96.0.1"), RangeError);
  });
});
