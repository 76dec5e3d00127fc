import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "#types/addr.ts";
import { NameCache } from "./cache.ts";

const LIMITS = { ipsPerName: 100, addresses: 1000, names: 1000 };
const ip = (n: number) => IpAddress(`198.51.${n >> 8}.${n & 255}`);
const own = (ttl: number, ...ips: number[]) => ips.map((n) => ({ ip: ip(n), ttl }));
const until = (now: number) => (ttl: number) => now + ttl;

/** Names ending in a. have identity 1, those in b. identity 2, `both.` has both. */
const match = (name: string) => [...(/a\.$|both/.test(name) ? [1] : []), ...(/b\.$|both/.test(name) ? [2] : [])];

function learn(cache: NameCache, name: string, now: number, answers: ReturnType<typeof own>, limits = LIMITS) {
  return cache.learn({ name, own: answers }, now, until(now), limits);
}

describe("NameCache", () => {
  it("says what changed: new addresses and longer times, not what it knows", () => {
    const cache = new NameCache(match);
    assert.deepEqual(learn(cache, "a.", 10, own(30, 1, 2)).changed, [ip(1), ip(2)]);
    assert.deepEqual(learn(cache, "a.", 10, own(30, 1)).changed, []);
    assert.deepEqual(learn(cache, "a.", 15, own(25, 1, 2)).changed, [], "a resolver's cache counts down");
    assert.deepEqual(learn(cache, "a.", 15, own(30, 2)).changed, [ip(2)]);
  });

  it("grants an address by all of its names, each as long as it lasts", () => {
    const cache = new NameCache(match);
    learn(cache, "a.", 0, own(10, 1));
    learn(cache, "both.", 0, own(20, 1));
    learn(cache, "b.", 0, own(30, 1));
    learn(cache, "c.", 0, own(99, 1));
    assert.deepEqual(cache.grantsOf(ip(1)), [
      { identity: 2, expires: 30 },
      { identity: 1, expires: 20 },
    ]);
    const last = cache.names.get("b.");
    assert.ok(last);
    cache.forget(last);
    learn(cache, "both.", 5, own(20, 1));
    assert.deepEqual(
      cache.grantsOf(ip(1)).map(({ expires }) => expires),
      [25, 25],
      "what a name has granted goes with it",
    );
  });

  it("gives up an address with its last name", () => {
    const cache = new NameCache(match);
    learn(cache, "a.", 0, own(10, 1, 2));
    learn(cache, "b.", 0, own(20, 1));
    const known = cache.names.get("a.") ?? assert.fail();
    assert.deepEqual(cache.expire(known, 5), []);
    const lost = [1, 2].map((n) => ({ ip: ip(n), name: "a.", expires: 10 }));
    assert.deepEqual(cache.expire(known, 10), lost);
    assert.deepEqual([...cache.names.keys()], ["b."]);
    assert.deepEqual([...cache.addresses.keys()], [ip(1)], "the other name still has it");
  });

  it("keeps a name's latest addresses, and so many names and addresses in all", () => {
    const cache = new NameCache(match);
    const limits = { ipsPerName: 3, addresses: 5, names: 4 };
    const evicted = learn(cache, "a.", 0, own(10, 1, 2, 3, 4, 5), limits).evicted;
    assert.deepEqual(
      evicted,
      [1, 2].map((n) => ({ ip: ip(n), name: "a.", expires: 10 })),
    );
    for (let i = 0; i < 500; i++) {
      learn(cache, `n${i}.a.`, i, own(1000, 10 + ((2 * i) % 400), 11 + ((2 * i) % 400)), limits);
      assert.ok(cache.names.size <= 4 && cache.addresses.size <= 5);
    }
    assert.ok(cache.names.has("n499.a."));
    for (const { ips } of cache.names.values()) for (const one of ips.keys()) assert.ok(cache.addresses.has(one));
  });

  it("gives up the addresses of a name whose time ends first, also when they are the latest", () => {
    const cache = new NameCache(match);
    const limits = { ...LIMITS, ipsPerName: 2 };
    learn(cache, "a.", 0, own(3600, 1, 2), limits);
    assert.deepEqual(
      learn(cache, "a.", 10, own(30, 3), limits).evicted.map((one) => one.ip),
      [ip(3)],
    );
  });

  it("matches again when the selectors change", () => {
    let wanted = 1;
    const cache = new NameCache((name) => (name === "a." ? [wanted] : [2]));
    learn(cache, "a.", 0, own(10, 1));
    learn(cache, "b.", 0, own(10, 2));
    wanted = 7;
    assert.deepEqual(cache.rematch(), [ip(1)]);
    assert.deepEqual(cache.grantsOf(ip(1)), [{ identity: 7, expires: 10 }]);
    assert.deepEqual(cache.rematch(), []);
  });
});
