import { createBackoff, sleep } from "./backoff.ts";
import { errorMessage } from "./errors.ts";
import type { Health } from "./health.ts";
import type { Logger } from "./logger.ts";

export interface JobOptions {
  readonly name: string;
  /** The work. It may run for ever; when it throws it is started again after a back-off, when it returns it is done. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** First and longest waiting time before a retry, milliseconds. */
  readonly retry?: { readonly initial: number; readonly max: number };
}

export interface JobDeps {
  readonly log: Logger;
  readonly health?: Health;
}

/** Starts a background task. Disposing aborts it and waits for its end. */
export function startJob(deps: JobDeps, options: JobOptions): AsyncDisposable & { readonly done: Promise<void> } {
  const controller = new AbortController();
  const backoff = createBackoff(options.retry ?? { initial: 100, max: 10_000 });
  const done = (async () => {
    while (!controller.signal.aborted) {
      try {
        deps.health?.set(options.name, "ok");
        await options.run(controller.signal);
        break;
      } catch (thrown) {
        if (controller.signal.aborted) break;
        const wait = backoff.next();
        deps.health?.set(options.name, "degraded", errorMessage(thrown));
        deps.log.warn("job failed, retrying", { job: options.name, error: errorMessage(thrown), retryMs: Math.round(wait) });
        await sleep(wait, controller.signal);
      }
    }
    deps.health?.set(options.name, "stopped");
  })();
  return {
    done,
    async [Symbol.asyncDispose]() {
      controller.abort();
      await done;
    },
  };
}

/** A job that runs `run` every `intervalMs`, the first time at once. A failure is reported and tried again next time. */
export function startInterval(
  deps: JobDeps,
  options: { readonly name: string; readonly intervalMs: number; readonly run: (signal: AbortSignal) => Promise<void> },
): AsyncDisposable {
  return startJob(deps, {
    name: options.name,
    async run(signal) {
      while (!signal.aborted) {
        try {
          await options.run(signal);
          deps.health?.set(options.name, "ok");
        } catch (thrown) {
          if (signal.aborted) return;
          deps.health?.set(options.name, "degraded", errorMessage(thrown));
          deps.log.warn("periodic job failed", { job: options.name, error: errorMessage(thrown) });
        }
        await sleep(options.intervalMs, signal);
      }
    },
  });
}
