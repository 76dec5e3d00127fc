import { readLines, type Scenario } from "./data.ts";
import { formatDifferences, formatTable, type Outcome, Recorder, totals } from "./report.ts";
import { runScenario } from "./scenarios.ts";

const scenarioFiles = [
  "basics",
  "compositions",
  "selectors",
  "entities",
  "cidr",
  "ports",
  "icmp-and-ip-protocols",
  "deny-and-default-deny",
  "l7",
  "auth-and-log",
  "fqdn-and-services",
  "nodes",
  "k8s-networkpolicy",
  "cluster-network-policy",
  "mixed",
  "policy-maps",
];

/** Runs one file; a missing one is skipped with the reason. */
export function runFile(name: string): Outcome {
  const recorder = new Recorder(name);
  const lines = readLines<Scenario>(name);
  if (lines === undefined) return { ...recorder.outcome(), skipped: `${name} is not there; set CILIA_CONFORMANCE to the folder of the data` };
  for (const one of lines) runScenario(one, recorder);
  return recorder.outcome();
}

const names = process.argv.slice(2);
const outcomes = (names.length > 0 ? names : scenarioFiles.map((name) => `${name}.jsonl`)).map(runFile);
if (names.length > 0) for (const one of outcomes) if (one.differences.length > 0) process.stdout.write(`${formatDifferences(one)}\n`);
process.stdout.write(`${formatTable(outcomes)}\n`);
const { passed, failed, deviations } = totals(outcomes);
process.stdout.write(`${deviations} deviations that SEMANTICS §3 decided on\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
