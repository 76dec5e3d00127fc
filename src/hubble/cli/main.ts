import { parseArguments, UsageError } from "./args.ts";
import type { Command } from "./command.ts";
import { COMMANDS, commandHelp, programHelp } from "./commands.ts";
import type { CommandContext } from "./context.ts";
import { readSettings } from "./settings.ts";

/** Everything a command touches of its process. */
export type Process = Omit<CommandContext, "args" | "settings">;

/** Runs `hubble` with these arguments; the result is the exit code. Failures are told on `err`. */
export async function runHubble(argv: readonly string[], world: Process): Promise<number> {
  try {
    return await dispatch(argv, world);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    world.err(`${message}\n`);
    return 1;
  }
}

/** Commands that do nothing by themselves: alone they show their help. */
const NEEDS_WORD: ReadonlySet<string> = new Set(["list", "watch", "config"]);

async function dispatch(argv: readonly string[], world: Process): Promise<number> {
  const [first] = argv;
  if (first === undefined || first === "help" || first === "--help" || first === "-h") {
    const named = findCommand(argv.slice(1));
    world.out(first === "help" && named !== undefined ? commandHelp(named.command) : programHelp());
    return 0;
  }
  if (first === "--version") return dispatch(["version"], world);
  const found = findCommand(argv);
  if (found === undefined) throw new UsageError(`unknown command "${first}" for "hubble"\nRun 'hubble --help' for usage.`);
  const { command, rest } = found;
  const args = parseArguments(rest, command.flags);
  const needsWord = NEEDS_WORD.has(command.path.join(" ")) && args.positionals.length === 0;
  if (needsWord || args.flags.some(({ spec }) => spec.name === "help")) {
    world.out(commandHelp(command));
    return 0;
  }
  const settings = await readSettings(args, command.flags, world.env);
  if (!command.flags.some(({ name }) => name === "port-forward") || !settings.bool("port-forward"))
    return command.run({ ...world, args, settings });
  const { forwardToRelay } = await import("./port-forward.ts");
  await using relay = await forwardToRelay(settings, world.err);
  return await command.run({ ...world, args, settings: relay.settings });
}

/** The command whose words the arguments begin with; global flags may stand before it. */
function findCommand(argv: readonly string[]): { readonly command: Command; readonly rest: readonly string[] } | undefined {
  const start = argv.findIndex((arg) => !arg.startsWith("-"));
  if (start < 0) return undefined;
  const words = argv.slice(start);
  const command = COMMANDS.find(({ path }) => path.every((word, index) => words[index] === word));
  return command === undefined ? undefined : { command, rest: [...argv.slice(0, start), ...words.slice(command.path.length)] };
}
