import { runProgram } from "#runtime/program.ts";
import { VERSION } from "#runtime/version.ts";

runProgram("hubble", async (signal) => {
  const { runHubble } = await import("#hubble/cli/main.ts");
  // A reader that goes away, as `head` does, is no failure.
  process.stdout.on("error", () => process.exit(0));
  return runHubble(process.argv.slice(2), {
    env: process.env,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    stdin: process.stdin,
    terminal: process.stdout.isTTY === true,
    errTerminal: process.stderr.isTTY === true,
    signal,
    version: VERSION,
  });
});
