import type { Command } from "commander";
import { isLocal } from "./agents.ts";
import type { ClusterOptions } from "./config.ts";

type Flags = Readonly<Record<string, string | boolean | undefined>>;

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

function milliseconds(text: string): number {
  const [, amount, unit = "s"] = /^(\d+)(s|m|h)?$/.exec(text) ?? [];
  if (amount === undefined) throw new Error(`--wait-duration: found "${text}", a duration such as 30s or 5m is needed`);
  return Number(amount) * (UNITS[unit] ?? 1000);
}

/** The commands of `cilium` that look after a whole cluster. */
export function addClusterCommands(program: Command, signal: () => AbortSignal): void {
  const global = () => program.opts<ClusterOptions>();
  program
    .command("status")
    .description("is Cilium well?")
    .option("--wait", "wait until it is well")
    .option("--wait-duration <duration>", "how long to wait at the most", "5m")
    .option("--verbose", "more of what the agents say")
    .option("-o, --output <format>", "summary | json")
    .addHelpText(
      "after",
      "\nExit status: 0 all is well, 1 something is not or the cluster does not answer, 2 a flag cannot be read. While agents are restarting it is 1:" +
        "\ntheir nodes go on by what the kernel has; --wait waits for them.",
    )
    .action((flags: Flags) => showStatus(global(), flags));
  const config = program.command("config").description("the configuration of the agents (ConfigMap cilium-config)");
  config
    .command("view")
    .description("all keys and values")
    .option("-o, --output <format>", "json | yaml | jsonpath='{…}'")
    .action(async (flags: Flags) => {
      const { configView } = await import("./config.ts");
      process.stdout.write(await configView({ ...global(), ...(typeof flags.output === "string" ? { output: flags.output } : {}) }));
    });
  const hubble = program.command("hubble").description("Hubble of the cluster, from this machine");
  hubble
    .command("enable")
    .description("Hubble Relay, and with --ui its page, on a cluster that has Cilium; waits until they are ready")
    .option("--ui", "Hubble UI too")
    .action(async (flags: Flags) => {
      const { hubbleEnable } = await import("./hubble-enable.ts");
      await hubbleEnable({ ...global(), ui: flags.ui === true }, signal());
    });
  hubble
    .command("disable")
    .description("takes Hubble Relay and Hubble UI away")
    .action(async () => {
      const { hubbleDisable } = await import("./hubble-enable.ts");
      await hubbleDisable(global());
    });
  hubble
    .command("port-forward")
    .description("Hubble Relay on a local port, until interrupted")
    .option("--port-forward <port>", "local port", "4245")
    .action(async (flags: Flags) => {
      const { hubblePortForward } = await import("./hubble.ts");
      await hubblePortForward({ ...global(), localPort: Number(flags.portForward) }, signal());
    });
  hubble
    .command("ui")
    .description("Hubble UI on a local port, until interrupted")
    .option("--port-forward <port>", "local port", "12000")
    .option("--open-browser", "accepted; the address is printed")
    .action(async (flags: Flags) => {
      const { hubbleUi } = await import("./hubble.ts");
      await hubbleUi({ ...global(), localPort: Number(flags.portForward) }, signal());
    });
}

/** In an agent's pod the agent's own status, elsewhere the cluster's. */
async function showStatus(options: ClusterOptions, flags: Flags): Promise<void> {
  const verbose = flags.verbose === true;
  const output = typeof flags.output === "string" ? { output: flags.output } : {};
  if (isLocal()) {
    const { agentStatusText } = await import("./status-agent.ts");
    const { text, healthy } = await agentStatusText({ ...output, verbose });
    process.stdout.write(text);
    if (!healthy) process.exitCode = 1;
    return;
  }
  const { clusterStatus } = await import("./status.ts");
  const waitMs = milliseconds(String(flags.waitDuration));
  const colour = process.stdout.isTTY === true;
  const { text, ok } = await clusterStatus({ ...options, ...output, wait: flags.wait === true, waitMs, verbose, colour });
  process.stdout.write(text);
  if (!ok) process.exitCode = 1;
}
