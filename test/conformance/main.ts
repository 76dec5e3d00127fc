import { parseArgs } from "node:util";
import { findFile, messageOf, sharedFile } from "./data.ts";
import { DatapathConformance } from "./datapath.ts";
import { dataFiles, runFile, runGivenFile, scenarioFiles } from "./files.ts";
import { formatDifferences, formatReasons, formatTable, type Outcome, totals } from "./report.ts";

const USAGE = `npm run conformance [-- [--datapath] [FILE...]]

Compares the policy engine with the answers of Cilium's own. Without files: all of the data. A FILE may have any name: each of its lines tells
by its fields what it asks. It is looked for from the current directory, then in the shared data.
  --datapath   ask the compiled eBPF programs instead, with the policy maps that the engine produced (root)
`;

/** The same files through the kernel. */
async function runDatapath(given: readonly string[]): Promise<Outcome[]> {
  await using datapath = new DatapathConformance();
  const outcomes: Outcome[] = [];
  for (const name of scenarioFiles) if (given.length === 0) outcomes.push(await datapath.run(name, sharedFile(name)));
  for (const name of given) outcomes.push(await datapath.run(name, findFile(name), { given: true }));
  return outcomes;
}

function report(outcomes: readonly Outcome[], withDifferences: boolean): void {
  for (const one of outcomes)
    if (withDifferences && one.differences.length + one.problems.length > 0) process.stdout.write(`${formatDifferences(one)}\n`);
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

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { datapath: { type: "boolean" }, help: { type: "boolean", short: "h" } },
    allowPositionals: true,
  });
  if (values.help) process.stdout.write(USAGE);
  else if (values.datapath) report(await runDatapath(positionals), true);
  else if (positionals.length > 0) report(positionals.map(runGivenFile), true);
  else report(dataFiles.map(runFile), false);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`conformance: ${messageOf(error)}\n`);
  process.exitCode = 2;
}
