import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Ring, type RingItem } from "./ring.ts";

function ringOf(capacity: number, count: number): Ring<number> {
  const ring = new Ring<number>(capacity);
  for (let i = 0; i < count; i++) ring.write(i);
  return ring;
}

async function collect(batches: AsyncIterable<readonly RingItem<number>[]>): Promise<RingItem<number>[]> {
  return (await Array.fromAsync(batches)).flat();
}

const never = new AbortController().signal;

describe("Ring", () => {
  it("keeps the newest entries", () => {
    const ring = ringOf(7, 10);
    assert.equal(ring.length, 7);
    assert.equal(ring.written, 10);
    assert.equal(ring.oldest, 3);
    assert.equal(ring.at(2), undefined);
    assert.equal(ring.at(3), 3);
    assert.equal(ring.at(9), 9);
    assert.equal(ring.at(10), undefined);
  });

  for (const capacity of [0, 4, 4096, 1.5, 131071])
    it(`refuses the capacity ${capacity}`, () => assert.throws(() => new Ring(capacity), RangeError));

  it("tells a reader exactly how many entries it missed", async () => {
    const ring = ringOf(7, 3);
    const reader = ring.read(0, { follow: true, signal: never });
    assert.deepEqual((await reader.next()).value, [{ entry: 0 }, { entry: 1 }, { entry: 2 }]);
    for (let i = 3; i < 20; i++) ring.write(i);
    const entries = [13, 14, 15, 16, 17, 18, 19].map((entry) => ({ entry }));
    assert.deepEqual((await reader.next()).value, [{ lost: 10 }]);
    assert.deepEqual((await reader.next()).value, entries);
    await reader.return();
  });

  it("ends at what was there, losses included, when it does not follow", async () => {
    const ring = ringOf(1023, 1000);
    const reader = ring.read(0, { follow: false, signal: never });
    assert.equal((await reader.next()).value?.length, 256);
    for (let i = 1000; i < 5000; i++) ring.write(i);
    assert.deepEqual(await collect(reader), [{ lost: 744 }]);
  });

  it("gives a reader that was overtaken the important entries all the same", async () => {
    const ring = new Ring<number>(1023, (entry) => entry % 10 === 0);
    const reader = ring.read(0, { follow: true, signal: never });
    for (let i = 0; i < 20_000; i++) ring.write(i);
    const items: RingItem<number>[] = [];
    while (!items.some((item) => "entry" in item && item.entry === 19_999)) items.push(...((await reader.next()).value ?? []));
    await reader.return();
    const entries = items.flatMap((item) => ("entry" in item ? [item.entry] : []));
    const lost = items.reduce((sum, item) => sum + ("lost" in item ? item.lost : 0), 0);
    assert.equal(entries.length + lost, 20_000, "what is not given is told");
    const firstInRing = 20_000 - 1023;
    const before = entries.filter((entry) => entry < firstInRing);
    const kept = Array.from({ length: 2000 }, (_, index) => index * 10).slice(-1023);
    assert.deepEqual(
      before,
      kept.filter((entry) => entry < firstInRing),
    );
    assert.deepEqual(
      entries,
      entries.toSorted((a, b) => a - b),
    );
  });

  it("gives a long way in pieces, nothing twice and nothing left out", async () => {
    const found = await collect(ringOf(1023, 3000).read(1977, { follow: false, signal: never }));
    assert.deepEqual(
      found,
      Array.from({ length: 1023 }, (_, i) => ({ entry: 1977 + i })),
    );
  });

  it("wakes a reader that waits", async () => {
    const ring = ringOf(3, 0);
    const stop = new AbortController();
    const reader = ring.read(0, { follow: true, signal: stop.signal });
    const next = reader.next();
    ring.write(5);
    assert.deepEqual((await next).value, [{ entry: 5 }]);
    const last = reader.next();
    stop.abort();
    assert.equal((await last).done, true);
  });
});
