import { type AskOptions, askAgents } from "./agents.ts";
import { filesUnder, readText } from "./object-files.ts";
import { formatOutput } from "./output.ts";
import type { PolicyShape } from "./shapes.ts";

/** `policy get`: the rules as the agent has them, then `Revision: N`. All agents see the same policies; the newest revision is shown. */
export async function policyGet(options: AskOptions & { readonly output?: string }): Promise<string> {
  const answers = await askAgents<PolicyShape>("/v1/policy", options);
  const newest = answers.map(({ value }) => value).reduce((a, b) => (b.revision > a.revision ? b : a));
  const rules = JSON.parse(newest.policy) as unknown;
  if (options.output) return formatOutput(options.output, { revision: newest.revision, policy: rules });
  return `${JSON.stringify(rules, null, 2)}\nRevision: ${newest.revision}\n`;
}

/** `policy selectors`. */
export async function policySelectors(options: AskOptions & { readonly output?: string }): Promise<string> {
  const answers = await askAgents<readonly { selector: string; identities: readonly number[]; users: number }[]>(
    "/v1/policy/selectors",
    options,
  );
  const selectors = answers.flatMap(({ value }) => value);
  if (options.output) return formatOutput(options.output, selectors);
  const { formatTable } = await import("./output.ts");
  return formatTable(
    ["SELECTOR", "USERS", "IDENTITIES"],
    selectors.map(({ selector, users, identities }) => [selector, String(users), identities.join(", ")]),
  );
}

export interface ValidationResult {
  readonly text: string;
  readonly valid: boolean;
}

/**
 * `policy validate`: every error and warning of every policy in the files and directories, with line and column. Needs no cluster. `-` reads
 * standard input. A file that is named and has no policy in it is an error: its kind may be misspelt.
 */
export async function policyValidate(paths: readonly string[], output: string | undefined): Promise<ValidationResult> {
  const { formatProblem, validateFiles } = await import("./validate.ts");
  const named = paths.map((path) => ({ path, files: filesUnder(path) }));
  const texts = [...new Set(named.flatMap(({ files }) => files))].map((file) => ({ file, text: readText(file) }));
  const found = validateFiles(texts);
  const empty = named.filter(({ files }) => !found.some(({ file }) => files.includes(file)));
  const nothing = empty.map(({ path, files }) => {
    const message = files[0] === path ? "no network policy in it: is the kind spelt right?" : "no network policy in any file below it";
    return { file: path, object: path, errors: [{ file: path, path: "", message }], warnings: [] };
  });
  const results = [...found, ...nothing];
  const valid = results.every(({ errors }) => errors.length === 0);
  if (output) return { text: await formatOutput(output, results), valid };
  const lines = results.flatMap(({ object, errors, warnings }) => [
    `${object}: ${errors.length === 0 ? "valid" : `invalid, ${errors.length} error${errors.length > 1 ? "s" : ""}`}`,
    ...errors.map((problem) => `  error: ${formatProblem(problem)}`),
    ...warnings.map((problem) => `  warning: ${formatProblem(problem)}`),
  ]);
  return { text: lines.map((line) => `${line}\n`).join(""), valid };
}
