import { parseArgs } from "node:util";
import { DatapathConformance } from "./datapath.ts";
import { dataFiles, runFile, scenarioFiles } from "./files.ts";
import { formatDifferences, formatReasons, formatTable, type Outcome, totals } from "./report.ts";

const USAGE = `npm run conformance [-- [--datapath] [FILE...]]

Compares the policy engine with the answers of Cilium's own. Without files: all of the data.
  --datapath   ask the compiled eBPF programs instead, with the policy maps that the engine produced (root)
`;

/** The same files through the kernel. */
async function runDatapath(files: readonly string[]): Promise<Outcome[]> {
  await using datapath = new DatapathConformance();
  const outcomes: Outcome[] = [];
  for (const file of files) outcomes.push(await datapath.run(file));
  return outcomes;
}

function report(outcomes: readonly Outcome[], withDifferences: boolean): void {
  for (const one of outcomes) if (withDifferences && one.differences.length > 0) process.stdout.write(`${formatDifferences(one)}\n`);
  process.stdout.write(`${formatTable(outcomes)}\n`);
  const deviations = outcomes.map((one) => new Map([...one.deviations].map(([reason, list]) => [reason, list.length])));
  const unasked = outcomes.map((one) => one.unasked ?? new Map<string, number>());
  if (deviations.some(({ size }) => size > 0)) {
    process.stdout.write(`deviations that were decided on (SEMANTICS §1 and §3), by reason:\n${formatReasons(deviations)}\n`);
  }
  if (unasked.some(({ size }) => size > 0)) process.stdout.write(`not asked:\n${formatReasons(unasked)}\n`);
  const { passed, failed } = totals(outcomes);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}

const { values, positionals } = parseArgs({
  options: { datapath: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  allowPositionals: true,
});
if (values.help) process.stdout.write(USAGE);
else if (values.datapath) report(await runDatapath(positionals.length > 0 ? positionals : scenarioFiles), true);
else report((positionals.length > 0 ? positionals : dataFiles).map(runFile), positionals.length > 0);
