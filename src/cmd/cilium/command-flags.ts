import { type Command, Option } from "commander";
import { errorMessage } from "#runtime/errors.ts";

/** Flags of every command. */
export interface GlobalFlags {
  readonly kubeconfig?: string;
  readonly namespace: string;
  readonly node?: string;
}

/** A command's own flags, as commander gives them. */
export type Flags = Readonly<Record<string, string | boolean | string[] | undefined>>;

/** `-o`. */
export const OUTPUT = () => new Option("-o, --output <format>", "json | yaml | jsonpath='{…}'");

/** What the exit status of every `policy` command means; `found` is what 1 says of this one, which else never exits with it. */
export function exitStatus(found?: string): string {
  return `Exit status: 0 fine${found === undefined ? "" : `, 1 ${found}`}, 2 no answer: wrong usage, unreadable input, no cluster.`;
}

/** The flags of the commands that look at policies together with what they apply to. */
export function withWorldFlags(command: Command, formats?: string): Command {
  return withPodFlags(
    command.option("--policies <path...>", 'policies: files or directories, - for standard input; "cluster" for the live ones'),
    formats,
  );
}

/** `withWorldFlags` for a command that is told its policies otherwise. */
export function withPodFlags(command: Command, formats?: string): Command {
  return command
    .option(
      "--pods <path...>",
      'pods, workloads, namespaces, services and nodes, as `kubectl get -o yaml` prints them; "cluster" for the live ones',
    )
    .addOption(formats === undefined ? OUTPUT() : new Option("-o, --output <format>", formats));
}

/** `paths` are more of `--policies`. */
export function worldFlags(flags: Flags, paths: readonly string[] = []): { policies: readonly string[]; pods: readonly string[] } {
  const list = (value: Flags[string]) => (Array.isArray(value) ? value : []);
  return { policies: [...paths, ...list(flags.policies)], pods: list(flags.pods) };
}

/** Writes the result of a command; what is not a string says by itself whether it is a success. */
export async function show(result: Promise<string | { readonly text: string; readonly ok: boolean }>): Promise<void> {
  const shown = await result;
  process.stdout.write(typeof shown === "string" ? shown : shown.text);
  if (typeof shown !== "string" && !shown.ok) process.exitCode = 1;
}

/** As `show`, for commands whose exit status 1 is an answer: what goes wrong is 2. */
export async function showOr2(result: Promise<string | { readonly text: string; readonly ok: boolean }>): Promise<void> {
  try {
    await show(result);
  } catch (thrown) {
    process.stderr.write(`cilium: ${errorMessage(thrown)}\n`);
    process.exitCode = 2;
  }
}
