import { appendFileSync } from "node:fs";
import { after } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

/** What the tests of a file left open, as Node names it. */
export interface OpenHandles {
  readonly file: string;
  readonly text: string;
}

/*
 * Loaded into every test process: when its tests are over, says what they left open. The runner ends the processes by force, so that one leak does
 * not hold up all; without this nobody would see it. A line for each file goes into `$TEST_HANDLES`.
 */
const SETTLE_MS = 1_000;
const STEP_MS = 20;

/** Pipes lead to the runner; the timer is that of our own waiting. */
function leftOpen(): string[] {
  return process.getActiveResourcesInfo().filter((name) => name !== "PipeWrap" && name !== "Timeout" && name !== "Immediate");
}

after(async () => {
  for (let waited = 0; waited < SETTLE_MS && leftOpen().length > 0; waited += STEP_MS) await delay(STEP_MS);
  const counts = Map.groupBy(leftOpen(), (name) => name);
  if (counts.size === 0) return;
  const text = [...counts].map(([name, all]) => `${all.length} ${name}`).join(", ");
  const line: OpenHandles = { file: process.argv[1] ?? "", text };
  appendFileSync(process.env.TEST_HANDLES ?? "/dev/null", `${JSON.stringify(line)}\n`);
});
