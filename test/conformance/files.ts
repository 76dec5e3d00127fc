import { findFile, messageOf, readLines, type Scenario, sharedFile } from "./data.ts";
import { type Outcome, Recorder } from "./report.ts";
import { runScenario } from "./scenarios.ts";
import { type FqdnCase, type HttpCase, type RangeCase, runFqdn, runHttp, runRange, runValidation, type ValidationCase } from "./single.ts";

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
export const dataFiles: readonly string[] = [
  ...scenarioFiles,
  "validation.jsonl",
  "fqdn-match.jsonl",
  "port-ranges.jsonl",
  "http-rules.jsonl",
];

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** What a line asks, told by its fields. */
export type Question =
  | { readonly kind: "scenario"; readonly line: Scenario }
  | { readonly kind: "validation"; readonly line: ValidationCase }
  | { readonly kind: "fqdn"; readonly line: FqdnCase }
  | { readonly kind: "range"; readonly line: RangeCase }
  | { readonly kind: "http"; readonly line: HttpCase };

const KINDS =
  "a scenario (identities, policies, expected.flows), a policy (policy, expected.accepted), a name pattern (matchPattern or matchName with matches " +
  "and rejects, or error), a port range (start, end, prefixes) or an HTTP rule (rule, expected.matchers, expected.actions)";

/** Tells the kind of a line; undefined when it has the fields of none. */
export function questionOf(value: unknown): Question | undefined {
  const line = fieldsOf(value);
  const expected = fieldsOf(line.expected);
  const lists = (from: Fields, ...names: string[]): boolean => names.every((name) => Array.isArray(from[name]));
  if (lists(line, "identities", "policies") && lists(expected, "flows", "verdicts", "policies", "enforcement"))
    return { kind: "scenario", line: value as Scenario };
  if (line.policy !== undefined && typeof expected.accepted === "boolean") return { kind: "validation", line: value as ValidationCase };
  if (
    typeof (line.matchPattern ?? line.matchName) === "string" &&
    (lists(line, "rejects") || lists(line, "matches") || line.error !== undefined)
  )
    return { kind: "fqdn", line: value as FqdnCase };
  if (typeof line.start === "number" && typeof line.end === "number" && lists(line, "prefixes"))
    return { kind: "range", line: value as RangeCase };
  if (line.rule !== undefined && lists(expected, "matchers", "actions")) return { kind: "http", line: value as HttpCase };
  return undefined;
}

function runLine(value: unknown, text: string, recorder: Recorder): void {
  const question = questionOf(value);
  if (question === undefined) throw new Error(`is of no known kind; a line is ${KINDS}`);
  if (question.kind === "scenario") runScenario(question.line, recorder);
  else if (question.kind === "validation") runValidation(question.line, text, recorder);
  else if (question.kind === "fqdn") runFqdn(question.line, recorder);
  else if (question.kind === "range") runRange(question.line, recorder);
  else runHttp(question.line, recorder);
}

function runLines(path: string, recorder: Recorder): void {
  const lines = readLines(path);
  if (lines.length === 0) recorder.refuse("holds no line");
  for (const { number, text, value, problem } of lines) {
    if (problem !== undefined) {
      recorder.refuse(problem, number);
      continue;
    }
    try {
      runLine(value, text, recorder);
    } catch (error) {
      recorder.refuse(messageOf(error), number);
    }
  }
}

/** Runs one file of the shared data; a missing one is skipped with the reason. */
export function runFile(name: string): Outcome {
  const recorder = new Recorder(name);
  const path = sharedFile(name);
  if (path === undefined) return { ...recorder.outcome(), skipped: "the data is not there; set CILIA_CONFORMANCE to its folder" };
  runLines(path, recorder);
  return recorder.outcome();
}

/** Runs a file that was asked for by name: what can not be read of it is a failure. */
export function runGivenFile(name: string): Outcome {
  const recorder = new Recorder(name);
  const path = findFile(name);
  if (path === undefined) recorder.refuse("is not there: neither from the current directory nor, by its bare name, in the shared data");
  else runLines(path, recorder);
  return recorder.outcome();
}
