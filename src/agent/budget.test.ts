import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createBudget } from "./budget.ts";

describe("createBudget", () => {
  it("leaves out what comes before the rest of the time has passed", () => {
    let clock = 0;
    const within = createBudget(0.1, () => clock);
    const work = () => {
      clock += 10;
      return "done";
    };
    assert.equal(within(work), "done");
    clock += 89;
    assert.equal(within(work), undefined);
    clock += 1;
    assert.equal(within(work), "done");
  });
});
