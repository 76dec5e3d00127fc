import { type Finding, type Severity, severityOrder } from "#policy/lint/finding.ts";
import { lintWorld } from "#policy/lint/lint.ts";
import { pathOf, placeOf } from "#policy/lint/place.ts";
import { formatRuleRef } from "#policy/rule.ts";
import type { World } from "#policy/world/world.ts";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import { flowResponse } from "./flow-input.ts";
import { readText } from "./object-files.ts";
import { formatOutput, OutputError } from "./output.ts";
import { CLUSTER, loadWorld, type WorldOptions } from "./world.ts";

/** The flows given are none. */
export class LintError extends CodedError {}

export interface LintOptions extends WorldOptions {
  readonly output?: string | undefined;
  /** The severity from which on a finding makes the command fail. */
  readonly failOn: string;
  /** A file of `hubble observe -o json`. */
  readonly flows?: string | undefined;
}

const LEVELS: readonly string[] = [...Object.keys(severityOrder), "never"];

/** `policy lint`. `ok` is false when a finding is as bad as `failOn` or worse. Rejects when the world cannot be read. */
export async function policyLint(options: LintOptions): Promise<{ readonly text: string; readonly ok: boolean }> {
  const { failOn, output } = options;
  if (!LEVELS.includes(failOn)) throw new OutputError("bad-flag", `--fail-on: found "${failOn}", allowed are ${LEVELS.join(", ")}`);
  const world = await loadWorld({ ...options, keepMisspelt: true });
  const files = [...(options.policies ?? []), ...(options.pods ?? [])].filter((path) => path !== CLUSTER);
  if (world.policies.length === 0 && files.length > 0 && !lintWorld(world).some(({ id }) => id === "L00"))
    throw new LintError("no-policy", `there is no network policy in ${files.join(", ")}: is the kind spelt right?`);
  const findings = lintWorld(world, options.flows === undefined ? [] : readFlows(options.flows));
  const ok = !findings.some(({ severity }) => failOn !== "never" && severityOrder[severity] <= severityOrder[failOn as Severity]);
  if (output === "sarif") return { text: `${JSON.stringify((await import("./sarif.ts")).sarifOf(world, findings), null, 2)}\n`, ok };
  if (output)
    return {
      text: await formatOutput(
        output,
        findings.map((one) => toJson(world, one)),
      ),
      ok,
    };
  return { text: `${findings.map((one) => toText(world, one)).join("")}${summary(world, findings, options)}`, ok };
}

/** The flows of a file, one JSON object a line. Throws `LintError` naming the first line that is none. */
function readFlows(file: string): unknown[] {
  return readText(file)
    .split("\n")
    .flatMap((line, i): unknown[] => {
      if (line.trim() === "") return [];
      try {
        flowResponse(line);
        return [JSON.parse(line)];
      } catch (thrown) {
        throw new LintError("bad-flows", `${file}:${i + 1}: no flow as \`hubble observe -o json\` writes them: ${errorMessage(thrown)}`);
      }
    });
}

function toText(world: World, finding: Finding): string {
  const { id, severity, policy, rule, message, fix } = finding;
  const object =
    rule === undefined ? `${policy.kind} ${policy.namespace === "" ? "" : `${policy.namespace}/`}${policy.name}` : formatRuleRef(rule);
  const { text } = placeOf(world, finding);
  return `${text === "" ? "" : `${text}: `}${severity} ${id} ${object}: ${message}\n    fix: ${fix}\n`;
}

function summary({ endpoints, policies }: World, findings: readonly Finding[], { flows }: LintOptions): string {
  const of = (severity: Severity) => findings.filter((one) => one.severity === severity).length;
  const words = (number: number, word: string) => `${number} ${word}${number === 1 ? "" : "s"}`;
  const skipped = [
    ...(endpoints.length === 0 ? ["no pods are known (--pods): what needs them was not looked for"] : []),
    ...(flows === undefined ? ["no flows were given (--flows): what only history shows was not looked for"] : []),
  ];
  const counts = `${words(of("error"), "error")}, ${words(of("warning"), "warning")}, ${of("info")} info`;
  return [`${words(policies.length, "policy").replace("policys", "policies")}: ${counts}`, ...skipped].map((line) => `${line}\n`).join("");
}

function toJson(world: World, finding: Finding): unknown {
  const { file, place } = placeOf(world, finding);
  return { ...finding, path: pathOf(world, finding), file, ...(place ?? {}) };
}
