import { createTable, type Table, type TableSpec, type Transactions, type WritableTable } from "./table.ts";

/** A set of tables with one clock of revisions. */
export interface Database {
  /** Throws when there is a table of that name. */
  createTable<T extends object>(spec: TableSpec<T>): WritableTable<T>;
  /**
   * One transaction over any tables: all of `fn`'s writes or, when it throws, none. Synchronous, so nobody sees half of it;
   * observers are told once it is over. Nested calls join the outer one.
   */
  write<R>(fn: () => R extends Promise<unknown> ? never : R): R;
  tables(): readonly Table<object>[];
  /** The text of one table; undefined when there is none of that name. */
  show(name: string): string | undefined;
}

interface Transaction {
  readonly undo: (() => void)[];
  readonly publish: (() => void)[];
  readonly notify: Set<() => void>;
}

export function createDatabase(): Database {
  const tables = new Map<string, Table<object>>();
  let revision = 0;
  let open: Transaction | undefined;

  const within = <R>(fn: () => R): R => {
    if (open) return fn();
    const transaction: Transaction = { undo: [], publish: [], notify: new Set() };
    open = transaction;
    let result: R;
    try {
      result = fn();
    } catch (thrown) {
      open = undefined;
      for (const undo of transaction.undo.reverse()) undo();
      throw thrown;
    }
    open = undefined;
    for (const publish of transaction.publish) publish();
    for (const notify of transaction.notify) notify();
    return result;
  };
  const transactions: Transactions = {
    nextRevision: () => ++revision,
    within,
    onRollback: (undo) => open?.undo.push(undo),
    onCommit: (publish) => open?.publish.push(publish),
    afterCommit: (notify) => open?.notify.add(notify),
  };
  return {
    createTable<T extends object>(spec: TableSpec<T>): WritableTable<T> {
      if (tables.has(spec.name)) throw new Error(`there is a table ${spec.name} already`);
      const table = createTable(spec, transactions);
      tables.set(spec.name, table as unknown as Table<object>);
      return table;
    },
    write: (fn) => within(fn) as never,
    tables: () => [...tables.values()],
    show: (name) => tables.get(name)?.show(),
  };
}
