import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Lab, run, startLab, walkthroughs } from "./lab.ts";

interface Guide {
  /** Rows that are left out, as the checks print them, each with what it needs. */
  readonly without: Readonly<Record<string, string>>;
  /** Why the guide is not walked unless `WALKTHROUGHS=all`. */
  readonly skip?: string;
}

const GUIDES: Readonly<Record<string, Guide>> = {
  s0: { without: {} },
  s1: { without: {} },
  s2: { without: {}, skip: "it takes a minute and a half; WALKTHROUGHS=all walks it" },
  s3: { without: {}, skip: "it takes five minutes; WALKTHROUGHS=all walks it" },
  s4: { without: {} },
};

const ABSENT = walkthroughs === undefined ? "the walkthroughs are not beside this checkout" : false;

describe("the guides' walkthroughs", { skip: ABSENT }, () => {
  let lab: Lab;
  before(async () => {
    lab = await startLab();
  });
  after(() => lab[Symbol.asyncDispose]());

  for (const [name, { without, skip }] of Object.entries(GUIDES)) {
    it(`${name} passes`, { skip: process.env.WALKTHROUGHS === "all" ? false : (skip ?? false) }, async (test) => {
      for (const [row, needs] of Object.entries(without)) test.diagnostic(`${name} ${row} is left out: it needs ${needs}`);
      const env = { ...lab.env, CONNECTIVITY: "0", SKIP_ROWS: Object.keys(without).join(" ") };
      const { code, stdout, stderr } = await run(`${walkthroughs}/${name}/run.sh`, [], { env, timeoutMs: 600_000 });
      const failed = stdout.split("\n").filter((line) => line.startsWith("FAIL"));
      assert.deepEqual(failed, [], stderr);
      assert.equal(code, 0, stderr);
    });
  }
});
