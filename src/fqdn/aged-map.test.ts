import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AgedMap } from "./aged-map.ts";

describe("AgedMap", () => {
  it("agrees with a Map whose entries are set anew each time, whatever is set and deleted", () => {
    const aged = new AgedMap<number, number>();
    const plain = new Map<number, number>();
    for (let i = 0, random = 7; i < 20_000; i++) {
      random = (random * 1_103_515_245 + 12_345) % 0x7fffffff;
      const key = random % 50;
      const gone = plain.delete(key);
      if (random % 3 === 0) assert.equal(aged.delete(key), gone);
      else {
        plain.set(key, i);
        aged.set(key, i);
      }
      assert.equal(aged.size, plain.size);
      assert.deepEqual(aged.oldest(), [...plain][0]);
      assert.equal(aged.get(key), plain.get(key));
      assert.equal(aged.has(key), plain.has(key));
    }
    assert.deepEqual([...aged.keys()].sort(), [...plain.keys()].sort());
    assert.deepEqual([...aged.values()].sort(), [...plain.values()].sort());
  });
});
