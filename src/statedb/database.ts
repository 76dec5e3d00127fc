import { createTable, type Table, type TableSpec, type Transactions, type WritableTable, type Write } from "./table.ts";

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

export function createDatabase(): Database {
  const tables = new Map<string, Table<object>>();
  let revision = 0;
  /** The writes of the open transaction. */
  let open: Write[] | undefined;

  const commit = (writes: readonly Write[]) => {
    for (const write of writes) write.table.publish(write);
    for (const table of new Set(writes.map((write) => write.table))) table.notify();
  };
  const within = <R>(fn: () => R): R => {
    if (open) return fn();
    const writes: Write[] = [];
    open = writes;
    let result: R;
    try {
      result = fn();
    } catch (thrown) {
      open = undefined;
      for (const write of writes.reverse()) write.table.undo(write);
      throw thrown;
    }
    open = undefined;
    commit(writes);
    return result;
  };
  const transactions: Transactions = {
    nextRevision: () => ++revision,
    add: (write) => (open ? void open.push(write) : commit([write])),
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
