import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Lab, run, startLab, walkthroughs } from "./lab.ts";

/** What of the guides this stage of the project does not cover yet; each with the capability that is missing. */
const NOT_YET: Readonly<Record<string, readonly string[]>> = {
  s0: [],
};

describe("the guides' walkthroughs", { skip: walkthroughs === undefined ? "the walkthroughs are not beside this checkout" : false }, () => {
  let lab: Lab;
  before(async () => {
    lab = await startLab();
  });
  after(() => lab[Symbol.asyncDispose]());

  for (const [name, rows] of Object.entries(NOT_YET)) {
    it(`${name} passes`, async () => {
      const env = { ...lab.env, CONNECTIVITY: "0", SKIP_ROWS: rows.join(" ") };
      const { code, stdout, stderr } = await run(`${walkthroughs}/${name}/run.sh`, [], { env, timeoutMs: 600_000 });
      const failed = stdout.split("\n").filter((line) => line.startsWith("FAIL"));
      assert.deepEqual(failed, [], stderr);
      assert.equal(code, 0, stderr);
    });
  }
});
