import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Ring, type RingItem } from "./ring.ts";

function ringOf(capacity: number, count: number): Ring<number> {
  const ring = new Ring<number>(capacity);
  for (let i = 0; i < count; i++) ring.write(i);
  return ring;
}

async function collect(items: AsyncIterable<RingItem<number>>): Promise<RingItem<number>[]> {
  return Array.fromAsync(items);
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
    assert.deepEqual((await reader.next()).value, { entry: 0 });
    for (let i = 3; i < 20; i++) ring.write(i);
    assert.deepEqual((await reader.next()).value, { lost: 12 });
    assert.deepEqual((await reader.next()).value, { entry: 13 });
    await reader.return();
  });

  it("ends at what was there, losses included, when it does not follow", async () => {
    const ring = ringOf(3, 3);
    const reader = ring.read(0, { follow: false, signal: never });
    assert.deepEqual((await reader.next()).value, { entry: 0 });
    for (let i = 3; i < 30; i++) ring.write(i);
    assert.deepEqual(await collect(reader), [{ lost: 2 }]);
  });

  it("wakes a reader that waits", async () => {
    const ring = ringOf(3, 0);
    const stop = new AbortController();
    const reader = ring.read(0, { follow: true, signal: stop.signal });
    const next = reader.next();
    ring.write(5);
    assert.deepEqual((await next).value, { entry: 5 });
    const last = reader.next();
    stop.abort();
    assert.equal((await last).done, true);
  });
});
