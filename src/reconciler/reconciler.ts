import { type Backoff, createBackoff } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Health } from "#runtime/health.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Change } from "#statedb/changes.ts";
import { DONE } from "#statedb/status.ts";
import type { Key, Table } from "#statedb/table.ts";
import { type Step, startPipeline } from "./pipeline.ts";
import { createWaiters } from "./wait.ts";

/** Where rows go. All three are idempotent and throw when the world fails; removing what is not there is success. */
export interface Target<T> {
  /** Makes the world equal to the row. `previous` is what was last attempted for this key, if anything. */
  update(row: T, previous: T | undefined): void | Promise<void>;
  remove(row: T): void | Promise<void>;
  /** Removes what none of the rows stands for. Only ever called once every source of the table has listed. */
  prune?(rows: Iterable<T>): void | Promise<void>;
}

/** A target that never waits: maps of the kernel. */
export interface SyncTarget<T> extends Target<T> {
  update(row: T, previous: T | undefined): void;
  remove(row: T): void;
  prune?(rows: Iterable<T>): void;
}

export interface ReconcilerOptions<T> {
  readonly name: string;
  readonly table: Table<T>;
  readonly target: Target<T>;
  /** Waiting time before a failed row is tried again, milliseconds. */
  readonly retry?: { readonly initial: number; readonly max: number };
  /** Prunes again this often, milliseconds, to repair what others changed; 0 (default): only once. */
  readonly pruneIntervalMs?: number;
}

export interface ReconcilerDeps {
  readonly log: Logger;
  readonly health?: Health;
  /** Told about every attempt. */
  readonly onAttempt?: (name: string, operation: "update" | "remove" | "prune", ok: boolean) => void;
}

export interface Reconciler extends Step, AsyncDisposable {
  /**
   * Resolves when every write to the table up to `revision` is realized; rejects with the signal's reason. A row that
   * keeps failing keeps it waiting.
   */
  reconciled(revision: number, signal?: AbortSignal): Promise<void>;
  /** Resolves when the row of this key is realized; other rows may fail meanwhile. Rejects with the signal's reason. */
  rowReconciled(key: Key, signal?: AbortSignal): Promise<void>;
  /** Resolves after the first successful prune. */
  readonly pruned: Promise<void>;
  /** Rows that failed and wait for their next try. */
  readonly failing: number;
}

interface Attempt<T> {
  change: Change<T>;
  backoff: Backoff | undefined;
  attempts: number;
  retryAt: number;
}

/** A reconciler that runs by itself. Disposing stops it and leaves the target as it is. */
export function startReconciler<T>(deps: ReconcilerDeps, options: ReconcilerOptions<T>): Reconciler {
  const reconciler = createReconciler(deps, options);
  const pipeline = startPipeline(deps, [reconciler]);
  return {
    ...reconciler,
    get failing() {
      return reconciler.failing;
    },
    async [Symbol.asyncDispose]() {
      await pipeline[Symbol.asyncDispose]();
      await reconciler[Symbol.asyncDispose]();
    },
  };
}

/** A reconciler as a step of a pipeline. */
export function createReconciler<T>(deps: ReconcilerDeps, options: ReconcilerOptions<T>): Reconciler {
  const { name, table, target, retry = { initial: 20, max: 10_000 }, pruneIntervalMs = 0 } = options;
  const observer = table.observe();
  const outstanding = new Map<Key, Attempt<T>>();
  const waiters = createWaiters();
  const afterRun = createWaiters();
  let runs = 0;
  const pruned = Promise.withResolvers<void>();
  let wake = () => {};
  let pruneDue = false;
  let timer: NodeJS.Timeout | undefined;
  let pruneTimer: NodeJS.Timeout | undefined;
  let disposed = false;

  const requestPrune = () => {
    pruneDue = true;
    wake();
  };
  table.initialized.then(() => {
    if (!disposed) requestPrune();
  }, requestPrune);

  const attempt = async (key: Key, item: Attempt<T>) => {
    const { row, previous, revision } = item.change;
    const operation = row === undefined ? "remove" : "update";
    try {
      const result = row === undefined ? previous && target.remove(previous) : target.update(row, previous);
      if (result) await result;
      deps.onAttempt?.(name, operation, true);
      outstanding.delete(key);
      if (row !== undefined) table.setStatus(key, revision, DONE);
    } catch (thrown) {
      deps.onAttempt?.(name, operation, false);
      item.backoff ??= createBackoff(retry);
      item.attempts += 1;
      item.retryAt = performance.now() + item.backoff.next();
      const message = errorMessage(thrown);
      table.setStatus(key, revision, { kind: "error", message, attempts: item.attempts });
      deps.log.warn("row not realized, retrying", { table: name, key, operation, attempts: item.attempts, error: message });
      deps.health?.set(`reconciler-${name}`, "degraded", `${key}: ${message}`);
    }
  };
  const prune = async () => {
    pruneDue = false;
    try {
      const result = target.prune?.(table.list());
      if (result) await result;
      deps.onAttempt?.(name, "prune", true);
      pruned.resolve();
      if (pruneIntervalMs > 0) pruneTimer = setTimeout(requestPrune, pruneIntervalMs).unref();
    } catch (thrown) {
      deps.onAttempt?.(name, "prune", false);
      deps.log.warn("prune failed, retrying", { table: name, error: errorMessage(thrown) });
      deps.health?.set(`reconciler-${name}`, "degraded", errorMessage(thrown));
      pruneTimer = setTimeout(requestPrune, retry.initial);
    }
  };
  const drain = async () => {
    for (const change of observer.take()) {
      outstanding.set(change.key, { change, backoff: undefined, attempts: 0, retryAt: 0 });
    }
    const now = performance.now();
    for (const [key, item] of [...outstanding]) if (item.retryAt <= now) await attempt(key, item);
  };
  const scheduleRetry = () => {
    clearTimeout(timer);
    timer = undefined;
    const next = Math.min(...[...outstanding.values()].map((item) => item.retryAt));
    if (Number.isFinite(next)) timer = setTimeout(wake, Math.max(1, next - performance.now()));
  };
  const lowest = () => Math.min(...[...outstanding.values()].map(({ change }) => change.revision));

  return {
    name,
    pruned: pruned.promise,
    get failing() {
      return outstanding.size;
    },
    onWork(fn) {
      wake = fn;
      observer.onReady(fn);
      if (pruneDue) fn();
    },
    async run() {
      if (disposed) return;
      await drain();
      if (outstanding.size === 0) deps.health?.set(`reconciler-${name}`, "ok");
      if (pruneDue && outstanding.size === 0) await prune();
      scheduleRetry();
      runs += 1;
      afterRun.release(runs);
      if (!observer.hasChanges) waiters.release(outstanding.size === 0 ? Number.POSITIVE_INFINITY : lowest());
    },
    reconciled(revision, signal) {
      const idle = !observer.hasChanges && (outstanding.size === 0 || lowest() > revision);
      return idle ? Promise.resolve() : waiters.wait(revision, signal);
    },
    async rowReconciled(key, signal) {
      while (observer.hasChanges || outstanding.has(key)) await afterRun.wait(runs, signal);
    },
    async [Symbol.asyncDispose]() {
      disposed = true;
      clearTimeout(timer);
      clearTimeout(pruneTimer);
      observer[Symbol.dispose]();
    },
  };
}
