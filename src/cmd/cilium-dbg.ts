import { runCommand } from "#runtime/program.ts";
import type { StatusDetails } from "./cilium/status-agent.ts";

/** `cilium-dbg api METHOD PATH [BODY]`: one request to the local agent, the answer as it is. Kept free of other imports: it is quick. */
async function api(args: readonly string[]): Promise<number> {
  const { localRequest } = await import("./cilium/agents.ts");
  const [method, path, body] = args;
  if (method === undefined || path === undefined) {
    process.stderr.write("usage: cilium-dbg api METHOD PATH [BODY]\n");
    return 2;
  }
  process.stdout.write(await localRequest(method, path, body));
  return 0;
}

runCommand("cilium-dbg", async (signal) => {
  const [command, ...args] = process.argv.slice(2);
  if (command === "api") return api(args);
  const [{ addNodeCommands, createProgram }, { withPlainBooleans }] = await Promise.all([
    import("./cilium/program.ts"),
    import("./cilium/boolean-flags.ts"),
  ]);
  const program = createProgram(
    "cilium-dbg",
    "The node commands of Cilium, in upstream's layouts. Runs in an agent's pod or on a workstation.",
  );
  addNodeCommands(program, "cilium-dbg", signal);
  program
    .command("status")
    .description("how this node's agent is")
    .option("--brief", "one line: OK, or what is wrong")
    .option("--verbose", "everything: all of the flags below, and how services are translated")
    .option("--all-addresses", "the addresses that are taken, not just how many")
    .option("--all-controllers", "every controller, not just those that fail")
    .option("--all-redirects", "every redirect to the proxy")
    .option("-o, --output <format>", "json | yaml | jsonpath='{…}'")
    .action(async (flags: StatusDetails & { readonly output?: string; readonly brief?: boolean }) => {
      const { agentStatusText } = await import("./cilium/status-agent.ts");
      const { text, healthy } = await agentStatusText(flags);
      process.stdout.write(text);
      if (!healthy) process.exitCode = 1;
    });
  program
    .command("version")
    .description("version of this program, and of the agent")
    .option("-o, --output <format>", "json | yaml | jsonpath='{…}'")
    .action(async (flags: { readonly output?: string }) => {
      const { versionText } = await import("./cilium/version.ts");
      process.stdout.write(await versionText(flags));
    });
  await program.parseAsync(withPlainBooleans(process.argv.slice(2), program), { from: "user" });
  return Number(process.exitCode ?? 0);
});
