import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dataFiles, runFile } from "./files.ts";
import { formatDifferences } from "./report.ts";

describe("the policy engine and Cilium's own", () => {
  for (const file of dataFiles) {
    it(file, (test) => {
      const outcome = runFile(file);
      if (outcome.skipped !== undefined) return test.skip(outcome.skipped);
      assert.equal(formatDifferences(outcome), "");
      assert.ok(outcome.checks > 0, "the file holds something to check");
    });
  }
});
