import { type Change, createObserver, type Observer, type ObserverSink } from "./changes.ts";
import { createIndex, type IndexFunction } from "./index.ts";
import { formatCell, formatColumns } from "./show.ts";
import { formatStatus, PENDING, type Status } from "./status.ts";

export type Key = string | number;

export interface TableSpec<T> {
  readonly name: string;
  /** The primary key; two rows with one key are one row. */
  readonly key: (row: T) => Key;
  readonly indexes?: Readonly<Record<string, IndexFunction<T>>>;
  /** What `show` prints, title → cell; the key alone when missing. */
  readonly columns?: Readonly<Record<string, (row: T) => unknown>>;
}

/** Reads a table of frozen rows. */
export interface Table<T> {
  readonly name: string;
  readonly size: number;
  /** The revision of the last write to this table; 0 when there was none. */
  readonly revision: number;
  get(key: Key): T | undefined;
  list(): IterableIterator<T>;
  keys(): IterableIterator<Key>;
  /** The rows an index has under a value, in the order of their keys' first write. Throws for an unknown index. */
  by(index: string, value: Key): readonly T[];
  revisionOf(key: Key): number | undefined;
  observe(): Observer<T>;
  /** Resolves when everyone who was expected has listed once; at once when nobody is. */
  readonly initialized: Promise<void>;
  readonly isInitialized: boolean;
  statusOf(key: Key): Status;
  /** Records how far a row is, unless it was written since `revision`. For the table's reconciler. */
  setStatus(key: Key, revision: number, status: Status): void;
  /** The table as aligned text, rows ordered by key. */
  show(): string;
}

export interface WritableTable<T> extends Table<T> {
  /** Writes a row; an equal row (same object) is no change. Returns the table's revision. */
  set(row: T): number;
  /** False when there was no such row. */
  delete(key: Key): boolean;
  /** Names a source that will list; call what it returns once it has. Prunes wait for all of them. */
  expect(source: string): () => void;
}

/** One write of a row, as long as its transaction is open. Tens of thousands may be in one: they are plain objects, their table knows the rest. */
export interface Write {
  readonly table: Journal;
  readonly change: Change<object>;
  /** What `Journal.undo` needs: the entry and the table's revision before the write. */
  readonly before: Entry<object> | undefined;
  readonly oldRevision: number;
}

/** What a database does with the writes of a table. */
export interface Journal {
  /** Takes a write back; called in reverse order when the transaction fails. */
  undo(write: Write): void;
  /** Tells observers; called in order when the transaction has succeeded. */
  publish(write: Write): void;
  /** To be called after all of these, once. */
  notify(): void;
}

/** What a table needs of its database: revisions, and the transaction that is open. */
export interface Transactions {
  nextRevision(): number;
  /** Into the open transaction; with none it is one of its own. */
  add(write: Write): void;
}

interface Entry<T> {
  readonly row: T;
  readonly revision: number;
  status: Status;
}

/** Made by `Database.createTable`. */
export function createTable<T extends object>(spec: TableSpec<T>, transactions: Transactions): WritableTable<T> {
  const entries = new Map<Key, Entry<T>>();
  const indexes = new Map(Object.entries(spec.indexes ?? {}).map(([name, fn]) => [name, createIndex(fn)]));
  const sinks = new Set<ObserverSink<T>>();
  const sources = createSources();
  let revision = 0;

  const place = (key: Key, entry: Entry<T> | undefined) => {
    const before = entries.get(key);
    if (before) for (const index of indexes.values()) index.remove(key, before.row);
    if (entry) {
      entries.set(key, entry);
      for (const index of indexes.values()) index.add(key, entry.row);
    } else entries.delete(key);
    return before;
  };
  const write = (key: Key, row: T | undefined) => {
    const oldRevision = revision;
    revision = transactions.nextRevision();
    const before = place(key, row && { row: Object.freeze(row), revision, status: PENDING });
    transactions.add({ table: journal, change: { key, row, previous: before?.row, revision }, before, oldRevision });
  };
  // The writes that come back are those above: their rows are T's.
  const journal: Journal = {
    undo({ change, before, oldRevision }) {
      place(change.key, before as Entry<T> | undefined);
      revision = oldRevision;
    },
    publish({ change }) {
      for (const sink of sinks) sink.record(change as Change<T>);
    },
    notify() {
      for (const sink of sinks) sink.notify();
    },
  };

  return {
    name: spec.name,
    get size() {
      return entries.size;
    },
    get revision() {
      return revision;
    },
    get: (key) => entries.get(key)?.row,
    *list() {
      for (const entry of entries.values()) yield entry.row;
    },
    keys: () => entries.keys(),
    by(index, value) {
      const found = indexes.get(index);
      if (!found) throw new Error(`table ${spec.name} has no index ${index}`);
      return found.find(value);
    },
    revisionOf: (key) => entries.get(key)?.revision,
    observe() {
      const initial = [...entries].map(([key, { row, revision }]) => ({ key, row, previous: undefined, revision }));
      const [observer, sink] = createObserver<T>(initial, (gone) => sinks.delete(gone));
      sinks.add(sink);
      return observer;
    },
    get initialized() {
      return sources.done();
    },
    get isInitialized() {
      return sources.pending.size === 0;
    },
    statusOf: (key) => entries.get(key)?.status ?? PENDING,
    setStatus(key, at, status) {
      const entry = entries.get(key);
      if (entry?.revision === at) entry.status = status;
    },
    set(row) {
      const key = spec.key(row);
      if (entries.get(key)?.row !== row) write(key, row);
      return revision;
    },
    delete(key) {
      if (!entries.has(key)) return false;
      write(key, undefined);
      return true;
    },
    expect: sources.expect,
    show: () => show(spec, entries),
  };
}

function createSources() {
  const pending = new Map<symbol, string>();
  let waiters: (() => void)[] = [];
  return {
    pending,
    expect(source: string) {
      const id = Symbol(source);
      pending.set(id, source);
      return () => {
        pending.delete(id);
        if (pending.size > 0) return;
        for (const resolve of waiters) resolve();
        waiters = [];
      };
    },
    done: () => (pending.size === 0 ? Promise.resolve() : new Promise<void>((resolve) => waiters.push(resolve))),
  };
}

function show<T>(spec: TableSpec<T>, entries: ReadonlyMap<Key, Entry<T>>): string {
  const columns = Object.entries(spec.columns ?? { KEY: spec.key });
  const ordered = [...entries].sort(([a], [b]) => compareKeys(a, b));
  const rows = ordered.map(([, { row, status }]) => [...columns.map(([, cell]) => formatCell(cell(row))), formatStatus(status)]);
  return formatColumns([...columns.map(([title]) => title), "STATUS"], rows);
}

function compareKeys(a: Key, b: Key): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : 1;
}
