import { dataFiles, runFile } from "./files.ts";
import { formatDifferences, formatTable, totals } from "./report.ts";

const names = process.argv.slice(2);
const outcomes = (names.length > 0 ? names : dataFiles).map(runFile);
for (const one of outcomes) if (names.length > 0 && one.differences.length > 0) process.stdout.write(`${formatDifferences(one)}\n`);
process.stdout.write(`${formatTable(outcomes)}\n`);
const reasons = new Map<string, number>();
for (const one of outcomes) for (const [reason, list] of one.deviations) reasons.set(reason, (reasons.get(reason) ?? 0) + list.length);
if (reasons.size > 0) process.stdout.write("deviations that were decided on (SEMANTICS §1 and §3), by reason:\n");
for (const [reason, count] of reasons) process.stdout.write(`  ${reason}: ${count}\n`);
const { passed, failed } = totals(outcomes);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
