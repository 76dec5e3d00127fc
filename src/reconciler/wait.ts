interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
}

/** Those who wait for a revision to be realized. */
export interface Waiters {
  /** Resolves once `release` was called with more than `revision`; rejects with the signal's reason when it aborts first. */
  wait(revision: number, signal?: AbortSignal): Promise<void>;
  /** Lets go of everyone who waits for less than `lowest`, the oldest revision not realized yet. */
  release(lowest: number): void;
}

export function createWaiters(): Waiters {
  const waiting = new Set<Waiter>();
  return {
    wait(revision, signal) {
      if (signal?.aborted) return Promise.reject(signal.reason as Error);
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          revision,
          resolve() {
            signal?.removeEventListener("abort", abort);
            resolve();
          },
        };
        const abort = () => {
          waiting.delete(waiter);
          reject(signal?.reason as Error);
        };
        signal?.addEventListener("abort", abort, { once: true });
        waiting.add(waiter);
      });
    },
    release(lowest) {
      for (const waiter of waiting) {
        if (waiter.revision >= lowest) continue;
        waiting.delete(waiter);
        waiter.resolve();
      }
    },
  };
}
