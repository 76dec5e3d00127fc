import type { Key } from "./table.ts";

/** A secondary index: from a value to the rows that have it. A row may have none, one or several values. */
export interface Index<T> {
  add(key: Key, row: T): void;
  remove(key: Key, row: T): void;
  find(value: Key): readonly T[];
}

export type IndexFunction<T> = (row: T) => Key | undefined | readonly Key[];

export function createIndex<T>(valuesOf: IndexFunction<T>): Index<T> {
  const buckets = new Map<Key, Map<Key, T>>();
  const values = (row: T): readonly Key[] => {
    const found = valuesOf(row);
    if (found === undefined) return [];
    return typeof found === "object" ? found : [found];
  };
  return {
    add(key, row) {
      for (const value of values(row)) {
        const bucket = buckets.get(value);
        if (bucket) bucket.set(key, row);
        else buckets.set(value, new Map([[key, row]]));
      }
    },
    remove(key, row) {
      for (const value of values(row)) {
        const bucket = buckets.get(value);
        bucket?.delete(key);
        if (bucket?.size === 0) buckets.delete(value);
      }
    },
    find: (value) => [...(buckets.get(value)?.values() ?? [])],
  };
}
