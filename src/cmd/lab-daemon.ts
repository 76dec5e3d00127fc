import type { LabConfig } from "#lab/config.ts";
import { startLab } from "#lab/daemon.ts";
import { checkMachine } from "#lab/preflight.ts";
import { reviewPolicy } from "#policy/lint/review.ts";
import { policyKinds } from "#policy/parse.ts";
import { scopeAudit } from "#policy/rule.ts";
import { errorMessage } from "#runtime/errors.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";

// Whoever started us reads progress, one JSON object a line, until we are up; then the pipe is closed on the other side.
process.stdout.on("error", () => undefined);
const say = (message: { readonly step?: string; readonly up?: true; readonly error?: string; readonly code?: string }) => {
  process.stdout.write(`${JSON.stringify(message)}\n`);
};

interface Annotated {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> | undefined };
}

/** Authors of policies hear from the engine what the API server's schema can not know. */
function review(object: Annotated & { readonly kind?: string | undefined; readonly spec?: unknown }): readonly string[] {
  const { template } = (object.spec ?? {}) as { readonly template?: Annotated };
  if (object.kind === "Namespace" || object.kind === "Pod" || template !== undefined)
    return [object, template].flatMap((one) => scopeAudit(one?.metadata?.annotations).problem ?? []);
  if (!policyKinds.includes(object.kind ?? "")) return [];
  const { errors, warnings } = reviewPolicy(object);
  return [...errors.map((text) => `this policy has no effect: ${text}`), ...warnings];
}

runProgram("cilia-lab", async (signal) => {
  const plan = JSON.parse(process.argv[2] ?? "{}") as LabConfig;
  const log = createLogger("lab");
  try {
    checkMachine();
    await using _lab = await startLab({ log, report: (step) => say({ step }), review }, plan);
    say({ up: true });
    await aborted(signal);
    log.info("ending");
  } catch (thrown) {
    say({ error: errorMessage(thrown), code: String((thrown as { code?: unknown }).code ?? "") });
    throw thrown;
  }
});
