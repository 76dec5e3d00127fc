import type { Key } from "./table.ts";

/** A secondary index: from a value to the rows that have it. A row may have none, one or several values. */
export interface Index<T> {
  add(key: Key, row: T): void;
  remove(key: Key, row: T): void;
  find(value: Key): readonly T[];
}

export type IndexFunction<T> = (row: T) => Key | undefined | readonly Key[];

/** Most values have one row: a map for each of them would be most of a large table's memory. */
type Bucket<T> = { readonly key: Key; readonly row: T } | Map<Key, T>;

export function createIndex<T>(valuesOf: IndexFunction<T>): Index<T> {
  const buckets = new Map<Key, Bucket<T>>();
  const values = (row: T): readonly Key[] => {
    const found = valuesOf(row);
    if (found === undefined) return [];
    return typeof found === "object" ? found : [found];
  };
  return {
    add(key, row) {
      for (const value of values(row)) {
        const bucket = buckets.get(value);
        if (bucket instanceof Map) bucket.set(key, row);
        else if (bucket === undefined || bucket.key === key) buckets.set(value, { key, row });
        else buckets.set(value, new Map([[bucket.key, bucket.row] as const, [key, row] as const]));
      }
    },
    remove(key, row) {
      for (const value of values(row)) {
        const bucket = buckets.get(value);
        if (bucket instanceof Map) bucket.delete(key);
        if (bucket instanceof Map ? bucket.size === 0 : bucket?.key === key) buckets.delete(value);
      }
    },
    find(value) {
      const bucket = buckets.get(value);
      if (bucket === undefined) return [];
      return bucket instanceof Map ? [...bucket.values()] : [bucket.row];
    },
  };
}
