import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { type Cluster, hasStatus } from "../cluster.ts";
import type { AnyObject } from "../objects.ts";

export interface ControllerDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
}

/** A kind that a controller watches, and which of the controller's own keys an object of it concerns. */
export interface Source {
  readonly resource: string;
  // A method, so that the source of one kind fits into a list of sources.
  keys(object: AnyObject): readonly string[];
}

export interface ControllerOptions {
  readonly name: string;
  readonly sources: readonly Source[];
  /** Makes the world as the object wants it; idempotent. A returned number asks for another run after so many milliseconds. */
  readonly reconcile: (key: string) => number | undefined;
}

const FIRST_RETRY_MS = 20;
const LONGEST_RETRY_MS = 5_000;

/** Runs `reconcile` for each key that a source names, one at a time, again after a failure, until disposed. */
export function startController(deps: ControllerDeps, options: ControllerOptions): Disposable {
  const log = deps.log.child(options.name);
  const waiting = new Set<string>();
  const failures = new Map<string, number>();
  const timers = new Map<string, NodeJS.Timeout>();
  let scheduled = false;
  let disposed = false;

  const enqueue = (key: string) => {
    waiting.add(key);
    if (scheduled || disposed) return;
    scheduled = true;
    setImmediate(drain);
  };
  const enqueueAfter = (key: string, milliseconds: number) => {
    clearTimeout(timers.get(key));
    const timer = setTimeout(() => {
      timers.delete(key);
      enqueue(key);
    }, milliseconds);
    timers.set(key, timer);
  };
  const drain = () => {
    scheduled = false;
    const keys = [...waiting];
    waiting.clear();
    for (const key of keys) if (!disposed) work(key);
  };
  const work = (key: string) => {
    try {
      const again = options.reconcile(key);
      failures.delete(key);
      if (again !== undefined) enqueueAfter(key, again);
    } catch (thrown) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      enqueueAfter(key, Math.min(FIRST_RETRY_MS * 2 ** count, LONGEST_RETRY_MS));
      // Another writer was faster, or the namespace is going away: the next run sees what is.
      if (!hasStatus(thrown, 404, 409, 403)) log.warn("could not reconcile, retrying", { key, error: errorMessage(thrown) });
    }
  };
  const watches = options.sources.map((source) =>
    deps.cluster.watch<AnyObject>(source.resource, {
      onEvent: ({ object }) => {
        for (const key of source.keys(object)) enqueue(key);
      },
    }),
  );
  return {
    [Symbol.dispose]() {
      disposed = true;
      for (const watch of watches) watch[Symbol.dispose]();
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}
