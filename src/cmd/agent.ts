import { runAgent } from "#agent/agent.ts";
import { agentFlags } from "#agent/config.ts";
import { formatHelp, readFlags } from "#runtime/flags.ts";
import { runProgram } from "#runtime/program.ts";

runProgram("cilium-agent", async (signal) => {
  if (process.argv.includes("--help")) {
    process.stdout.write(formatHelp("cilium-agent", "Connects and protects the pods of one node.", agentFlags));
    return;
  }
  await runAgent(readFlags(agentFlags), signal);
});
