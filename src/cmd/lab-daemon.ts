import type { LabConfig } from "#lab/config.ts";
import { startLab } from "#lab/daemon.ts";
import { checkMachine } from "#lab/preflight.ts";
import { errorMessage } from "#runtime/errors.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";
import { createReview } from "./lab-review.ts";

// Whoever started us reads progress, one JSON object a line, until we are up; then the pipe is closed on the other side.
process.stdout.on("error", () => undefined);
const say = (message: { readonly step?: string; readonly up?: true; readonly error?: string; readonly code?: string }) => {
  process.stdout.write(`${JSON.stringify(message)}\n`);
};

runProgram("cilia-lab", async (signal) => {
  const plan = JSON.parse(process.argv[2] ?? "{}") as LabConfig;
  const log = createLogger("lab");
  try {
    checkMachine();
    await using _lab = await startLab({ log, report: (step) => say({ step }), review: createReview() }, plan);
    say({ up: true });
    await aborted(signal);
    log.info("ending");
  } catch (thrown) {
    say({ error: errorMessage(thrown), code: String((thrown as { code?: unknown }).code ?? "") });
    throw thrown;
  }
});
