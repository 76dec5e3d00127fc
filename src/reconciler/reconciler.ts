import { type Backoff, createBackoff } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Health } from "#runtime/health.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Change, Observer } from "#statedb/changes.ts";
import { DONE } from "#statedb/status.ts";
import type { Key, Table } from "#statedb/table.ts";
import { type Pipeline, type Step, startPipeline } from "./pipeline.ts";
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

/** A target that can take many rows at once. */
export interface BatchTarget<T> extends Target<T> {
  /** As `update` of each. When it throws, any of them may be realized; all are tried again one by one. */
  updateMany(rows: readonly T[]): void | Promise<void>;
}

export interface ReconcilerOptions<T> {
  readonly name: string;
  readonly table: Table<T>;
  readonly target: Target<T> | BatchTarget<T>;
  /** Waiting time before a failed row is tried again, milliseconds. */
  readonly retry?: { readonly initial: number; readonly max: number };
  /** Prunes and writes all rows again this often, milliseconds, to repair what others changed; 0 (default): prunes once. */
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
  /** Prunes and writes all rows again now, as is done every `pruneIntervalMs`. Resolves when that is done; failed rows are tried again. */
  audit(): Promise<void>;
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
  const reconciler = new TableReconciler(deps, options);
  reconciler.runWith(startPipeline(deps, [reconciler]));
  return reconciler;
}

/** A reconciler as a step of a pipeline. */
export function createReconciler<T>(deps: ReconcilerDeps, options: ReconcilerOptions<T>): Reconciler {
  return new TableReconciler(deps, options);
}

class TableReconciler<T> implements Reconciler {
  readonly name: string;
  readonly pruned: Promise<void>;
  readonly #deps: ReconcilerDeps;
  readonly #options: ReconcilerOptions<T>;
  readonly #retry: { readonly initial: number; readonly max: number };
  readonly #observer: Observer<T>;
  readonly #outstanding = new Map<Key, Attempt<T>>();
  readonly #waiters = createWaiters();
  readonly #afterRun = createWaiters();
  readonly #pruned = Promise.withResolvers<void>();
  readonly #audits: (() => void)[] = [];
  #runs = 0;
  #wake = () => {};
  #prunes = 0;
  #pruneDue = false;
  #retryTimer: NodeJS.Timeout | undefined;
  #pruneTimer: NodeJS.Timeout | undefined;
  #pipeline: Pipeline | undefined;
  #disposed = false;

  constructor(deps: ReconcilerDeps, options: ReconcilerOptions<T>) {
    this.#deps = deps;
    this.#options = options;
    this.name = options.name;
    this.pruned = this.#pruned.promise;
    this.#retry = options.retry ?? { initial: 20, max: 10_000 };
    this.#observer = options.table.observe();
    const listed = () => this.#requestPrune();
    options.table.initialized.then(listed, listed);
  }

  get failing(): number {
    return this.#outstanding.size;
  }

  runWith(pipeline: Pipeline): void {
    this.#pipeline = pipeline;
  }

  onWork(wake: () => void): void {
    this.#wake = wake;
    this.#observer.onReady(wake);
    if (this.#pruneDue) wake();
  }

  async run(): Promise<void> {
    if (this.#disposed) return;
    this.#take();
    await this.#attemptDue();
    if (this.#outstanding.size === 0) this.#deps.health?.set(`reconciler-${this.name}`, "ok");
    if (this.#pruneDue) await this.#prune();
    this.#scheduleRetry();
    this.#runs += 1;
    this.#afterRun.release(this.#runs);
    if (!this.#observer.hasChanges) this.#waiters.release(this.#lowest());
  }

  reconciled(revision: number, signal?: AbortSignal): Promise<void> {
    const isIdle = !this.#observer.hasChanges && this.#lowest() > revision;
    return isIdle ? Promise.resolve() : this.#waiters.wait(revision, signal);
  }

  async rowReconciled(key: Key, signal?: AbortSignal): Promise<void> {
    while (this.#observer.hasChanges || this.#outstanding.has(key)) await this.#afterRun.wait(this.#runs, signal);
  }

  audit(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#audits.push(resolve);
    this.#requestPrune();
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#pruneTimer);
    await this.#pipeline?.[Symbol.asyncDispose]();
    this.#observer[Symbol.dispose]();
  }

  #take(): void {
    for (const change of this.#observer.take()) {
      // What was to be removed and failed is still there, also when the key has a new row by now.
      const previous = change.previous ?? this.#outstanding.get(change.key)?.change.previous;
      this.#outstanding.set(change.key, { change: { ...change, previous }, backoff: undefined, attempts: 0, retryAt: 0 });
    }
  }

  async #attemptDue(): Promise<void> {
    await this.#attemptMany();
    const now = performance.now();
    for (const [key, item] of [...this.#outstanding]) if (item.retryAt <= now) await this.#attempt(key, item);
  }

  /** New rows together, when there are many and the target can. What fails is left to be tried one by one. */
  async #attemptMany(): Promise<void> {
    const { table, target } = this.#options;
    const fresh = [...this.#outstanding].flatMap(([key, { change, attempts }]) =>
      change.row !== undefined && attempts === 0 ? [{ key, row: change.row, revision: change.revision }] : [],
    );
    if (!("updateMany" in target) || fresh.length < 2) return;
    for (let at = 0; at < fresh.length; at += BATCH) {
      const rows = fresh.slice(at, at + BATCH);
      try {
        const result = target.updateMany(rows.map(({ row }) => row));
        if (result) await result;
      } catch {
        continue;
      }
      for (const { key, revision } of rows) {
        this.#deps.onAttempt?.(this.name, "update", true);
        this.#outstanding.delete(key);
        table.setStatus(key, revision, DONE);
      }
      if (at + BATCH < fresh.length) await breathe();
    }
  }

  async #attempt(key: Key, item: Attempt<T>): Promise<void> {
    const { table, target } = this.#options;
    const { row, previous, revision } = item.change;
    const operation = row === undefined ? "remove" : "update";
    try {
      const result = row === undefined ? previous && target.remove(previous) : target.update(row, previous);
      if (result) await result;
      this.#deps.onAttempt?.(this.name, operation, true);
      this.#outstanding.delete(key);
      if (row !== undefined) table.setStatus(key, revision, DONE);
    } catch (thrown) {
      this.#deps.onAttempt?.(this.name, operation, false);
      this.#fail(key, item, operation, errorMessage(thrown));
    }
  }

  #fail(key: Key, item: Attempt<T>, operation: string, message: string): void {
    item.backoff ??= createBackoff(this.#retry);
    item.attempts += 1;
    item.retryAt = performance.now() + item.backoff.next();
    const { attempts } = item;
    this.#options.table.setStatus(key, item.change.revision, { kind: "error", message, attempts });
    this.#deps.log.warn("row not realized, retrying", { table: this.name, key, operation, attempts, error: message });
    this.#deps.health?.set(`reconciler-${this.name}`, "degraded", `${key}: ${message}`);
  }

  #requestPrune(): void {
    if (this.#disposed) return;
    this.#pruneDue = true;
    this.#wake();
  }

  async #prune(): Promise<void> {
    const { table, target, pruneIntervalMs = 0 } = this.#options;
    this.#pruneDue = false;
    try {
      const result = target.prune?.(table.list());
      if (result) await result;
      this.#deps.onAttempt?.(this.name, "prune", true);
      this.#prunes += 1;
      if (this.#prunes > 1 || this.#audits.length > 0) await this.#rewrite();
      this.#pruned.resolve();
      for (const resolve of this.#audits.splice(0)) resolve();
      if (pruneIntervalMs > 0) this.#pruneTimer = setTimeout(() => this.#requestPrune(), pruneIntervalMs).unref();
    } catch (thrown) {
      this.#deps.onAttempt?.(this.name, "prune", false);
      this.#deps.log.warn("prune failed, retrying", { table: this.name, error: errorMessage(thrown) });
      this.#deps.health?.set(`reconciler-${this.name}`, "degraded", errorMessage(thrown));
      this.#pruneTimer = setTimeout(() => this.#requestPrune(), this.#retry.initial);
    }
  }

  /** Writes every row once more: somebody else may have changed the target. Rows that fail are tried like changed ones. */
  async #rewrite(): Promise<void> {
    const { table, target } = this.#options;
    const keys = [...table.keys()];
    for (let at = 0; at < keys.length; at += BATCH) {
      // A row is looked up when its turn comes: it may have changed or gone while others were written.
      for (const key of keys.slice(at, at + BATCH)) {
        const row = table.get(key);
        if (row === undefined || this.#outstanding.has(key)) continue;
        const change = { key, row, previous: row, revision: table.revisionOf(key) ?? 0 };
        this.#outstanding.set(key, { change, backoff: undefined, attempts: 0, retryAt: 0 });
      }
      await this.#attemptDue();
      if ("updateMany" in target) await breathe();
    }
  }

  #scheduleRetry(): void {
    clearTimeout(this.#retryTimer);
    const next = lowestOf(this.#outstanding.values(), ({ retryAt }) => retryAt);
    if (Number.isFinite(next)) this.#retryTimer = setTimeout(() => this.#wake(), Math.max(1, next - performance.now()));
  }

  /** The oldest revision that is not realized; infinity when all are. */
  #lowest(): number {
    return lowestOf(this.#outstanding.values(), ({ change }) => change.revision);
  }
}

/** Rows of one call of `updateMany`: enough to save system calls, few enough that others get their turn. */
const BATCH = 1000;

function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Infinity for no items. */
function lowestOf<T>(items: Iterable<T>, value: (item: T) => number): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const item of items) lowest = Math.min(lowest, value(item));
  return lowest;
}
