/** Exponential back-off: every `next()` is longer than the one before, up to `max`, until `reset()`. */
export interface Backoff {
  /** The next waiting time in milliseconds. */
  next(): number;
  /** Start over after a success. */
  reset(): void;
}

export interface BackoffOptions {
  /** First waiting time, milliseconds. */
  readonly initial: number;
  /** Longest waiting time, milliseconds. */
  readonly max: number;
  /** Share of the time that is random, 0 to 1; 0.2 by default, so that many clients do not retry in step. */
  readonly jitter?: number;
  readonly random?: () => number;
}

export function createBackoff(options: BackoffOptions): Backoff {
  const { initial, max, jitter = 0.2, random = Math.random } = options;
  let current = initial;
  return {
    next() {
      const wait = current * (1 - jitter + 2 * jitter * random());
      current = Math.min(current * 2, max);
      return Math.min(wait, max);
    },
    reset() {
      current = initial;
    },
  };
}

/** Waits `milliseconds`; ends early, without an error, when the signal aborts. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    signal?.addEventListener("abort", finish, { once: true });
  });
}
