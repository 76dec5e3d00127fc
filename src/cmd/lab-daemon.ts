import type { LabConfig } from "#lab/config.ts";
import { type LabDeps, startLab } from "#lab/daemon.ts";
import { checkMachine } from "#lab/preflight.ts";
import { objectOf, textOf } from "#policy/fields.ts";
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

type LabReview = NonNullable<LabDeps["review"]>;

/** Authors of policies hear from the engine what the API server's schema can not know. */
function review(object: unknown): ReturnType<LabReview> {
  const fields = objectOf(object);
  const { template } = objectOf(fields.spec);
  if (fields.kind === "Namespace" || fields.kind === "Pod" || template !== undefined) {
    const annotated = [fields, objectOf(template)].map(({ metadata }) => objectOf(objectOf(metadata).annotations));
    return { noun: "object", problems: [], warnings: annotated.flatMap((annotations) => scopeAudit(annotations).problem ?? []) };
  }
  if (!policyKinds.includes(textOf(fields.kind))) return { noun: "object", problems: [], warnings: [] };
  const { issues, warnings } = reviewPolicy(object);
  return { noun: "policy", problems: issues.map(({ path, message }) => ({ field: path, message })), warnings };
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
