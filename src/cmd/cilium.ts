import { readFileSync } from "node:fs";
import { runCommand } from "#runtime/program.ts";

/** The version in `package.json`, which is that of every program. */
function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

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
  program.version(`cilium v${version()} ${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`, "--version");
  addClusterCommands(program, signal);
  addNodeCommands(program, "cilium", signal);
  program
    .command("version")
    .description("version of this program")
    .action(() => {
      process.stdout.write(`cilium v${version()}\n`);
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
