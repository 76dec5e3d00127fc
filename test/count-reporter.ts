import { appendFileSync } from "node:fs";
import type { TestEvent } from "node:test/reporters";

/** One test that ended, as a line of JSON in the file `$TEST_RESULTS`. */
export interface TestResult {
  readonly name: string;
  readonly file: string;
  readonly result: "passed" | "failed" | "skipped";
  readonly reason?: string;
}

/** A reporter for `node --test` that only counts, and prints what tests say of themselves: suites are not tests, and a skip carries its reason. */
export async function* countReporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    // Those of the run as a whole stand at the outermost level.
    if (event.type === "test:diagnostic" && event.data.nesting > 0) yield `\n${event.data.message}\n`;
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { name, file = "", skip, details } = event.data;
    if (details.type === "suite" && skip === undefined) continue;
    const result = event.type === "test:fail" ? "failed" : skip === undefined ? "passed" : "skipped";
    const reason = typeof skip === "string" && skip !== "" ? skip : undefined;
    const line: TestResult = { name, file, result, ...(reason ? { reason } : {}) };
    appendFileSync(process.env.TEST_RESULTS ?? "/dev/null", `${JSON.stringify(line)}\n`);
  }
  yield "";
}

// biome-ignore lint/style/noDefaultExport: node --test-reporter loads the default export.
export default countReporter;
