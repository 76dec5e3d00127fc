import type { KubeObject } from "../object.ts";

/** A change of one object. For DELETED, `object` is its last state with the revision of the deletion. */
export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly revision: number;
  readonly object: KubeObject;
  /** The state before the change; absent for ADDED. */
  readonly previous?: KubeObject;
}

/** The last changes of one resource, oldest first, with bounded memory. */
export interface History {
  push(change: Change): void;
  /** The changes after the revision; undefined when some of them are already forgotten. */
  since(revision: number): readonly Change[] | undefined;
  /** The newest forgotten revision: what comes after it is still here. */
  readonly compacted: number;
}

/** Keeps at least `limit` changes and at most twice as many; `start` is the revision before the first. */
export function createHistory(start: number, limit: number): History {
  let changes: Change[] = [];
  let compacted = start;
  return {
    push(change) {
      changes.push(change);
      if (changes.length < 2 * limit) return;
      const forgotten = changes[changes.length - limit - 1];
      if (forgotten) compacted = forgotten.revision;
      changes = changes.slice(-limit);
    },
    since(revision) {
      if (revision < compacted) return undefined;
      return changes.slice(firstAfter(changes, revision));
    },
    get compacted() {
      return compacted;
    },
  };
}

function firstAfter(changes: readonly Change[], revision: number): number {
  let low = 0;
  let high = changes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((changes[middle]?.revision ?? 0) > revision) high = middle;
    else low = middle + 1;
  }
  return low;
}
