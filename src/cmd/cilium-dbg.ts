import { runCommand } from "#runtime/program.ts";

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
    .option("--verbose", "every controller")
    .option("-o, --output <format>", "json | yaml | jsonpath='{…}'")
    .action(async (flags: { readonly output?: string; readonly verbose?: boolean }) => {
      const { agentStatusText } = await import("./cilium/status-agent.ts");
      const output = flags.output === undefined ? {} : { output: flags.output };
      process.stdout.write(await agentStatusText({ ...output, verbose: flags.verbose === true }));
    });
  await program.parseAsync(withPlainBooleans(process.argv.slice(2), program), { from: "user" });
  return Number(process.exitCode ?? 0);
});
