import { createBackoff, sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";

/** Work by key: adding a key that waits changes nothing; a key that failed is tried again with back-off. */
export interface WorkQueue extends AsyncDisposable {
  add(key: string): void;
}

export function startQueue(deps: { readonly log: Logger; readonly name: string }, work: (key: string) => Promise<void>): WorkQueue {
  const stop = new AbortController();
  const waiting = new Set<string>();
  let wake = Promise.withResolvers<void>();
  stop.signal.addEventListener("abort", () => wake.resolve(), { once: true });
  const backoff = createBackoff({ initial: 100, max: 10_000 });
  const take = async (key: string) => {
    waiting.delete(key);
    try {
      await work(key);
      backoff.reset();
    } catch (thrown) {
      if (stop.signal.aborted) return;
      waiting.add(key);
      const wait = backoff.next();
      deps.log.warn("work failed, retrying", { queue: deps.name, key, error: errorMessage(thrown), retryMs: Math.round(wait) });
      await sleep(wait, stop.signal);
    }
  };
  const done = (async () => {
    while (!stop.signal.aborted) {
      const [key] = waiting;
      if (key !== undefined) {
        await take(key);
        continue;
      }
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
  })();
  return {
    add(key) {
      waiting.add(key);
      wake.resolve();
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      wake.resolve();
      await done;
    },
  };
}
