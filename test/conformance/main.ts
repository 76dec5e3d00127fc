import { readLines } from "./data.ts";
import { formatDifferences, formatTable, type Outcome, Recorder, totals } from "./report.ts";
import { runScenario } from "./scenarios.ts";
import { runFqdn, runHttp, runRange, runValidation } from "./single.ts";

type Runner = (line: never, recorder: Recorder) => void;

const singles: Readonly<Record<string, Runner>> = {
  "validation.jsonl": runValidation,
  "fqdn-match.jsonl": runFqdn,
  "port-ranges.jsonl": runRange,
  "http-rules.jsonl": runHttp,
};

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
].map((name) => `${name}.jsonl`);

/** Runs one file; a missing one is skipped with the reason. */
function runFile(name: string): Outcome {
  const recorder = new Recorder(name);
  const lines = readLines<never>(name);
  if (lines === undefined) return { ...recorder.outcome(), skipped: "the data is not there; set CILIA_CONFORMANCE to its folder" };
  const run: Runner = singles[name.split("/").pop() ?? ""] ?? runScenario;
  for (const one of lines) run(one, recorder);
  return recorder.outcome();
}

const names = process.argv.slice(2);
const outcomes = (names.length > 0 ? names : [...scenarioFiles, ...Object.keys(singles)]).map(runFile);
for (const one of outcomes) if (names.length > 0 && one.differences.length > 0) process.stdout.write(`${formatDifferences(one)}\n`);
process.stdout.write(`${formatTable(outcomes)}\n`);
const reasons = new Map<string, number>();
for (const one of outcomes) for (const [reason, list] of one.deviations) reasons.set(reason, (reasons.get(reason) ?? 0) + list.length);
if (reasons.size > 0) process.stdout.write("deviations that were decided on (SEMANTICS §1 and §3), by reason:\n");
for (const [reason, count] of reasons) process.stdout.write(`  ${reason}: ${count}\n`);
const { passed, failed } = totals(outcomes);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
