import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { alignTabs } from "./tab-writer.ts";

describe("alignment at tabs", () => {
  it("makes a column as wide as its widest neighbour", () => {
    assert.deepEqual(alignTabs(["a:\tone", "longer:\ttwo"]), ["a:        one", "longer:   two"]);
  });

  it("ends a column at a line that does not have it", () => {
    assert.deepEqual(alignTabs(["a:\tone", "without", "longer:\ttwo"]), ["a:   one", "without", "longer:   two"]);
  });

  it("aligns a second column only where there is one", () => {
    assert.deepEqual(alignTabs(["a\tb\tc", "a\tbbb\tc", "a\tlast"]), ["a   b     c", "a   bbb   c", "a   last"]);
  });
});
