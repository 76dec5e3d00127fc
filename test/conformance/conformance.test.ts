import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sharedFile } from "./data.ts";
import { DatapathConformance } from "./datapath.ts";
import { dataFiles, runFile, scenarioFiles } from "./files.ts";
import { formatDifferences, formatTable, type Outcome } from "./report.ts";

/** Fails with every difference. */
function check(outcome: Outcome): void {
  assert.equal(formatDifferences(outcome), "");
  assert.ok(outcome.checks > 0, "the file holds something to check");
}

describe("the policy engine and Cilium's own", () => {
  const outcomes: Outcome[] = [];
  for (const file of dataFiles) {
    it(file, (test) => {
      const outcome = runFile(file);
      outcomes.push(outcome);
      if (outcome.skipped !== undefined) return test.skip(outcome.skipped);
      check(outcome);
    });
  }
  it("shows the table", (test) => test.diagnostic(`the engine against Cilium's:\n${formatTable(outcomes)}`));
});

describe("the compiled datapath, with the engine's policy maps", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  it("says what the engine says, and Cilium", async (test) => {
    const outcomes: Outcome[] = [];
    await using datapath = new DatapathConformance();
    for (const file of scenarioFiles) outcomes.push(await datapath.run(file, sharedFile(file)));
    if (outcomes.every(({ skipped }) => skipped !== undefined)) return test.skip(outcomes[0]?.skipped);
    test.diagnostic(`the datapath against both:\n${formatTable(outcomes)}`);
    for (const one of outcomes) if (one.skipped === undefined) check(one);
  });
});
