import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createHealth } from "./health.ts";

describe("health", () => {
  it("counts what each part said, and when it last said so", () => {
    const times = [1, 2, 3, 4, 5, 6, 7, 8].map((second) => new Date(second * 1000)).values();
    const health = createHealth(() => times.next().value ?? new Date(9000));
    for (const level of ["ok", "degraded", "degraded"] as const) health.set("routes", level, level === "ok" ? "" : "no such device");
    const [failing] = health.list();
    assert.deepEqual([failing?.successes, failing?.failures, failing?.consecutiveFailures], [1, 2, 2]);
    assert.equal(failing?.message, "no such device");
    assert(failing?.lastSuccess && failing.lastFailure && failing.lastSuccess < failing.lastFailure);

    health.set("routes", "ok");
    const [well] = health.list();
    assert.deepEqual([well?.failures, well?.consecutiveFailures, well?.message], [2, 0, ""]);
    assert.deepEqual(well?.lastFailure, failing.lastFailure);
  });
});
