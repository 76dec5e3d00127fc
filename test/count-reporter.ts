import { appendFileSync } from "node:fs";
import type { TestEvent } from "node:test/reporters";

/** One test that ended, as a line of JSON in the file `$TEST_RESULTS`. */
export interface TestResult {
  readonly name: string;
  readonly file: string;
  readonly result: "passed" | "failed" | "skipped";
  readonly reason?: string;
}

/** The line of a test that ended; undefined for other events. Suites are not tests, and a skip carries its reason. */
function resultOf(event: TestEvent): TestResult | undefined {
  if (event.type !== "test:pass" && event.type !== "test:fail") return undefined;
  const { name, file = "", skip, details } = event.data;
  if (details.type === "suite" && skip === undefined) return undefined;
  const result = event.type === "test:fail" ? "failed" : skip === undefined ? "passed" : "skipped";
  return { name, file, result, ...(typeof skip === "string" && skip !== "" ? { reason: skip } : {}) };
}

/** A reporter for `node --test` that only counts, and prints what tests say of themselves. */
export async function* countReporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    // Those of the run as a whole stand at the outermost level.
    if (event.type === "test:diagnostic" && event.data.nesting > 0) yield `\n${event.data.message}\n`;
    const result = resultOf(event);
    if (result !== undefined) appendFileSync(process.env.TEST_RESULTS ?? "/dev/null", `${JSON.stringify(result)}\n`);
  }
  yield "";
}

// biome-ignore lint/style/noDefaultExport: node --test-reporter loads the default export.
export default countReporter;
