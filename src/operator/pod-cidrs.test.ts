import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Prefix } from "#types/prefix.ts";
import { createPodCidrs } from "./pod-cidrs.ts";

const pools = [
  { cidr: Prefix("10.244.0.0/16"), bits: 24 },
  { cidr: Prefix("fd00:10:244::/48"), bits: 64 },
];

describe("createPodCidrs", () => {
  it("gives each node the lowest free block of every pool, the same one again when asked again", () => {
    const cidrs = createPodCidrs(pools);
    assert.deepEqual(cidrs.allocate("a"), ["10.244.0.0/24", "fd00:10:244::/64"]);
    assert.deepEqual(cidrs.allocate("b"), ["10.244.1.0/24", "fd00:10:244:1::/64"]);
    assert.deepEqual(cidrs.allocate("a"), ["10.244.0.0/24", "fd00:10:244::/64"]);
  });
  it("leaves alone what a node already has, and gives a deleted node's blocks again", () => {
    const cidrs = createPodCidrs(pools.slice(0, 1));
    assert.ok(cidrs.occupy("old", [Prefix("10.244.0.0/24")]));
    assert.equal(cidrs.occupy("thief", [Prefix("10.244.0.0/24")]), false);
    assert.deepEqual(cidrs.allocate("new"), ["10.244.1.0/24"]);
    cidrs.release("old");
    assert.deepEqual(cidrs.allocate("next"), ["10.244.0.0/24"]);
  });
  it("avoids blocks of another size that overlap", () => {
    const cidrs = createPodCidrs(pools.slice(0, 1));
    assert.ok(cidrs.occupy("big", [Prefix("10.244.0.0/23")]));
    assert.deepEqual(cidrs.allocate("a"), ["10.244.2.0/24"]);
  });
  it("says so when the pool is exhausted", () => {
    const cidrs = createPodCidrs([{ cidr: Prefix("10.0.0.0/23"), bits: 24 }]);
    cidrs.allocate("a");
    cidrs.allocate("b");
    assert.equal(cidrs.allocate("c"), undefined);
  });
});
