import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";

/** A controller or reconciler: does its pending work when run, and says when there is some. */
export interface Step {
  readonly name: string;
  /** Calls `wake` whenever there is work. */
  onWork(wake: () => void): void;
  /** Does what is pending. Without work it returns at once. Failures of rows are its own business; a throw is a bug. */
  run(): void | Promise<void>;
}

export interface Pipeline extends AsyncDisposable {
  /** Runs all steps soon. */
  wake(): void;
  /** Resolves after all steps have run once more from the first to the last. */
  settled(): Promise<void>;
}

/**
 * Runs the steps in order, over and over while any of them has work. The order is a promise: what an earlier step wrote
 * before is realized when a later one runs, so policy maps know an identity before the ipcache can yield it.
 */
export function startPipeline(deps: { readonly log: Logger }, steps: readonly Step[]): Pipeline {
  let running: Promise<void> | undefined;
  let again = false;
  let stopped = false;
  const waiters: (() => void)[] = [];

  const round = async () => {
    for (const step of steps) {
      if (stopped) return;
      try {
        const result = step.run();
        if (result) await result;
      } catch (thrown) {
        deps.log.error("step failed", { step: step.name, error: errorMessage(thrown) });
      }
    }
  };
  const loop = async () => {
    // One turn of the event loop gathers what came together; the kernel sees one update instead of many.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (again && !stopped) {
      again = false;
      const waiting = waiters.splice(0);
      await round();
      for (const resolve of waiting) resolve();
    }
  };
  const wake = () => {
    again = true;
    if (running || stopped) return;
    running = loop().finally(() => {
      running = undefined;
      if (again) wake();
    });
  };
  for (const step of steps) step.onWork(wake);
  return {
    wake,
    settled() {
      const done = new Promise<void>((resolve) => waiters.push(resolve));
      wake();
      return done;
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      await running;
    },
  };
}
