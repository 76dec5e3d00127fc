import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "#types/addr.ts";
import { Prefix } from "#types/prefix.ts";
import { createPool } from "./pool.ts";

const drain = (pool: ReturnType<typeof createPool>) => {
  const given: string[] = [];
  for (let address = pool.allocate("x"); address !== undefined; address = pool.allocate("x")) given.push(address);
  return given;
};

describe("createPool", () => {
  it("gives every address but network, broadcast and router", () => {
    const pool = createPool([Prefix("10.0.0.0/29")]);
    assert.equal(pool.router, "10.0.0.1");
    assert.equal(pool.capacity, 5);
    assert.deepEqual(drain(pool), ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
  });
  it("gives a released address last", () => {
    const pool = createPool([Prefix("10.0.0.0/29")]);
    const first = pool.allocate("a");
    assert.ok(first);
    pool.release(first);
    assert.deepEqual(drain(pool).at(-1), first);
  });
  it("goes on in the next block, in IPv6 too", () => {
    assert.deepEqual(drain(createPool([Prefix("10.0.0.0/30"), Prefix("10.1.0.0/30")])), ["10.0.0.2", "10.1.0.1", "10.1.0.2"]);
    const pool = createPool([Prefix("fd00:10:244:1::/64")]);
    assert.equal(pool.router, "fd00:10:244:1::1");
    assert.equal(pool.allocate("a"), "fd00:10:244:1::2");
  });
  it("lets an owner take its address back, and nobody else's", () => {
    const pool = createPool([Prefix("10.0.0.0/29")]);
    assert.equal(pool.take(IpAddress("10.0.0.4"), "a"), true);
    assert.equal(pool.take(IpAddress("10.0.0.4"), "a"), true);
    assert.equal(pool.take(IpAddress("10.0.0.4"), "b"), false);
    assert.equal(pool.take(IpAddress("10.0.0.1"), "router is not to be had"), false);
    assert.equal(pool.take(IpAddress("10.9.0.4"), "a"), false);
    assert.equal(drain(pool).includes("10.0.0.4"), false);
    assert.equal(pool.release(IpAddress("10.0.0.9")), false);
  });
});
