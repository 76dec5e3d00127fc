import type { FlagSpec } from "./args.ts";
import type { Command } from "./command.ts";
import { EVENTS_FLAGS, FORMAT_FLAGS, GLOBAL_FLAGS, HISTORY_FLAGS, MATRIX_FLAGS, OBSERVE_FLAGS, SERVER_FLAGS, TOP_FLAGS } from "./flags.ts";

const output = (values: readonly string[], standard: string): FlagSpec => ({
  name: "output",
  short: "o",
  kind: "string",
  help: `Output format: ${values.join(", ")}`,
  default: standard,
  values,
});
const SERVER = [...SERVER_FLAGS, ...GLOBAL_FLAGS];

/** All commands; a longer path goes before a shorter one. */
export const COMMANDS: readonly Command[] = [
  {
    path: ["observe", "agent-events"],
    help: "Observe Cilium agent events",
    usage: "hubble observe agent-events [flags]",
    flags: EVENTS_FLAGS,
    run: async (context) => (await import("./observe-events.ts")).observeAgentEvents(context),
  },
  {
    path: ["observe", "debug-events"],
    help: "Observe Cilium debug events",
    usage: "hubble observe debug-events [flags]",
    flags: EVENTS_FLAGS,
    run: async (context) => (await import("./observe-events.ts")).observeDebugEvents(context),
  },
  {
    path: ["observe", "flows"],
    help: "Observe flows of a Hubble server",
    usage: "hubble observe flows [flags]",
    flags: OBSERVE_FLAGS,
    run: async (context) => (await import("./observe.ts")).observe(context),
  },
  {
    path: ["observe"],
    help: "Observe flows and events of a Hubble server",
    usage: "hubble observe [flows|agent-events|debug-events] [flags]",
    flags: OBSERVE_FLAGS,
    arguments: ["agent-events", "debug-events", "flows"],
    run: async (context) => (await import("./observe.ts")).observe(context),
  },
  {
    path: ["top"],
    help: "Show who talks most, live",
    usage: "hubble top [--by KEY,...] [flags]",
    flags: TOP_FLAGS,
    run: async (context) => (await import("./top.ts")).top(context),
  },
  {
    path: ["matrix"],
    help: "Show who talked to whom on what port",
    usage: "hubble matrix [--since 1h] [flags]",
    flags: MATRIX_FLAGS,
    run: async (context) => (await import("./matrix.ts")).matrix(context),
  },
  {
    path: ["history"],
    help: "Show flows that the nodes keep on disk, of the last day when no time is given",
    usage: "hubble history --since 2d [flags]",
    flags: HISTORY_FLAGS,
    run: async (context) => (await import("./observe.ts")).observe(context),
  },
  {
    path: ["status"],
    help: "Display status of Hubble server",
    usage: "hubble status [flags]",
    flags: [output(["compact", "dict", "json", "table"], "compact"), ...SERVER],
    run: async (context) => (await import("./status.ts")).status(context),
  },
  {
    path: ["list"],
    help: "List Hubble objects: nodes, namespaces",
    usage: "hubble list nodes|namespaces [flags]",
    flags: [output(["dict", "json", "table", "wide"], "table"), ...SERVER],
    arguments: ["namespaces", "nodes"],
    run: async (context) => (await import("./list.ts")).list(context),
  },
  {
    path: ["watch"],
    help: "Watch Hubble objects: peers",
    usage: "hubble watch peers [flags]",
    flags: SERVER,
    arguments: ["peers"],
    run: async (context) => (await import("./watch.ts")).watch(context),
  },
  {
    path: ["config"],
    help: "Modify or view hubble config",
    usage: "hubble config view | get KEY | set KEY [VALUE] | reset [KEY]",
    flags: [...SERVER, ...FORMAT_FLAGS],
    arguments: ["get", "reset", "set", "view"],
    run: async (context) => (await import("./config.ts")).config(context),
  },
  {
    path: ["version"],
    help: "Display detailed version information",
    usage: "hubble version",
    flags: GLOBAL_FLAGS,
    async run(context) {
      context.out(`hubble v${context.version} on ${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}\n`);
      return 0;
    },
  },
  {
    path: ["completion"],
    help: "Output shell completion code: bash, zsh or fish",
    usage: "hubble completion bash|zsh|fish",
    flags: GLOBAL_FLAGS,
    arguments: ["bash", "fish", "zsh"],
    run: async (context) => (await import("./completion.ts")).completion(context, COMMANDS),
  },
];

/** The help of one command. */
export function commandHelp({ help, usage, flags }: Command): string {
  const rows = flags.filter(({ hidden }) => !hidden).map((spec) => [flagText(spec), flagHelp(spec)] as const);
  const width = Math.max(...rows.map(([left]) => left.length));
  return `${help}\n\nUsage:\n  ${usage}\n\nFlags:\n${rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}\n`).join("")}`;
}

function flagText({ name, short, kind }: FlagSpec): string {
  return `${short === undefined ? "    " : `-${short}, `}--${name}${kind === "bool" ? "" : ` ${kind}`}`;
}

function flagHelp({ help, default: standard }: FlagSpec): string {
  return standard === undefined ? help : `${help} (default ${standard})`;
}

/** The help of the program. */
export function programHelp(): string {
  const rows = COMMANDS.filter(({ path }) => path.length === 1).map(({ path, help }) => `  ${(path[0] ?? "").padEnd(12)}${help}\n`);
  return (
    "Hubble is a utility to observe and inspect recent Cilium routed traffic in a cluster.\n\n" +
    `Usage:\n  hubble [command]\n\nCommands:\n${rows.join("")}\n` +
    'Use "hubble [command] --help" for more information about a command.\n'
  );
}
