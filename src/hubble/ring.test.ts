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
    assert.deepEqual((await reader.next()).value, [{ lost: 10 }, ...entries]);
    await reader.return();
  });

  it("ends at what was there, losses included, when it does not follow", async () => {
    const ring = ringOf(1023, 1000);
    const reader = ring.read(0, { follow: false, signal: never });
    assert.equal((await reader.next()).value?.length, 256);
    for (let i = 1000; i < 5000; i++) ring.write(i);
    assert.deepEqual(await collect(reader), [{ lost: 744 }]);
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
