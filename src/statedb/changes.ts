import type { Key } from "./table.ts";

/** What happened to one key since the observer last asked; several writes are one change. `row` is missing when the row is gone. */
export interface Change<T> {
  readonly key: Key;
  readonly row: T | undefined;
  /** The row as the observer last took it; missing when it is new to the observer. */
  readonly previous: T | undefined;
  readonly revision: number;
}

/** One reader's view of a table's changes: first all rows there are, then every change, coalesced by key. */
export interface Observer<T> extends Disposable {
  /** The changes since the last call, in the order of their last write. Empty when there are none. */
  take(): readonly Change<T>[];
  readonly hasChanges: boolean;
  /** Calls `fn` after each transaction that touched the table, and at once when there are changes already. One listener only. */
  onReady(fn: () => void): void;
}

/** The writing end of an observer, held by the table. */
export interface ObserverSink<T> {
  record(change: Change<T>): void;
  notify(): void;
}

/** An observer and its sink. `initial` are the rows there are already. */
export function createObserver<T>(
  initial: Iterable<Change<T>>,
  onDispose: (sink: ObserverSink<T>) => void,
): [Observer<T>, ObserverSink<T>] {
  const pending = new Map<Key, Change<T>>();
  for (const change of initial) pending.set(change.key, change);
  let listener: (() => void) | undefined;
  const sink: ObserverSink<T> = {
    record(change) {
      const before = pending.get(change.key);
      if (before === undefined) {
        pending.set(change.key, change);
        return;
      }
      const { previous } = before;
      pending.delete(change.key);
      // A row that came and went unseen never existed for this observer.
      if (change.row !== undefined || previous !== undefined) pending.set(change.key, { ...change, previous });
    },
    notify() {
      if (pending.size > 0) listener?.();
    },
  };
  const observer: Observer<T> = {
    take() {
      const changes = [...pending.values()];
      pending.clear();
      return changes;
    },
    get hasChanges() {
      return pending.size > 0;
    },
    onReady(fn) {
      listener = fn;
      sink.notify();
    },
    [Symbol.dispose]() {
      listener = undefined;
      onDispose(sink);
    },
  };
  return [observer, sink];
}
