import { readLines } from "./data.ts";
import { type Outcome, Recorder } from "./report.ts";
import { runScenario } from "./scenarios.ts";
import { runFqdn, runHttp, runRange, runValidation } from "./single.ts";

type Runner = (line: never, recorder: Recorder) => void;

const singles: Readonly<Record<string, Runner>> = {
  "validation.jsonl": runValidation,
  "fqdn-match.jsonl": runFqdn,
  "port-ranges.jsonl": runRange,
  "http-rules.jsonl": runHttp,
};

/** The files that hold small clusters and their flows. */
export const scenarioFiles: readonly string[] = [
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

/** All files of the data, in the order of its README. */
export const dataFiles: readonly string[] = [...scenarioFiles, ...Object.keys(singles)];

/** Runs one file; a missing one is skipped with the reason. */
export function runFile(name: string): Outcome {
  const recorder = new Recorder(name);
  const lines = readLines<never>(name);
  if (lines === undefined) return { ...recorder.outcome(), skipped: "the data is not there; set CILIA_CONFORMANCE to its folder" };
  const run: Runner = singles[name.split("/").pop() ?? ""] ?? runScenario;
  for (const one of lines) run(one, recorder);
  return recorder.outcome();
}
