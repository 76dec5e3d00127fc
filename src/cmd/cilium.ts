import { runCommand } from "#runtime/program.ts";
import { VERSION } from "#runtime/version.ts";

runCommand("cilium", async (signal) => {
  const [{ addNodeCommands, createProgram }, { withPlainBooleans }] = await Promise.all([
    import("./cilium/program.ts"),
    import("./cilium/boolean-flags.ts"),
  ]);
  const { addClusterCommands } = await import("./cilium/cluster.ts");
  const program = createProgram(
    "cilium",
    "Cilium on a cluster: its state, its policies, and what they decide. Runs on a workstation or in an agent's pod.",
  );
  program.version(`cilium v${VERSION} ${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`, "--version");
  addClusterCommands(program, signal);
  addNodeCommands(program, "cilium", signal);
  program
    .command("version")
    .description("version of this program; in an agent's pod that of the agent, too")
    .option("-o, --output <format>", "json | yaml | jsonpath='{…}'")
    .action(async (flags: { readonly output?: string }) => {
      const { versionText } = await import("./cilium/version.ts");
      process.stdout.write(await versionText(flags));
    });
  program
    .command("completion <shell>")
    .description("completion for bash, zsh or fish: source <(cilium completion bash)")
    .action(async (shell: string) => {
      const { completionScript } = await import("./cilium/completion.ts");
      process.stdout.write(completionScript(program, shell));
    });
  const { labCommand } = await import("./lab.ts");
  program.addCommand(labCommand(signal));
  await program.parseAsync(withPlainBooleans(process.argv.slice(2), program), { from: "user" });
  return Number(process.exitCode ?? 0);
});
