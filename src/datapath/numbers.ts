/** Small numbers for names, counted by use: what the kernel's maps call things by. */
export interface Numbers {
  /** The name's number; it is kept until the last user let go of it and `free` was called. */
  acquire(name: string): number;
  get(name: string): number | undefined;
  release(name: string): void;
  users(name: string): number;
  /** Gives the number of a name that nobody uses back for others. */
  free(name: string): void;
  /** Takes over a number that is in the kernel already, without a user. False when the name or the number is taken. */
  restore(id: number, name: string): boolean;
  /** Names that have a number and no user. */
  unused(): string[];
  has(id: number): boolean;
}

/** Throws RangeError from `acquire` when all numbers up to `last` are taken. */
export function createNumbers(first: number, last: number): Numbers {
  const byName = new Map<string, { readonly id: number; users: number }>();
  const taken = new Set<number>();
  let next = first;
  const unusedId = () => {
    for (let tried = first; tried <= last; tried++) {
      const id = next;
      next = next === last ? first : next + 1;
      if (!taken.has(id)) return id;
    }
    throw new RangeError(`all numbers up to ${last} are taken`);
  };
  return {
    acquire(name) {
      const known = byName.get(name);
      const item = known ?? { id: unusedId(), users: 0 };
      item.users += 1;
      if (known === undefined) {
        byName.set(name, item);
        taken.add(item.id);
      }
      return item.id;
    },
    get: (name) => byName.get(name)?.id,
    release(name) {
      const item = byName.get(name);
      if (item !== undefined && item.users > 0) item.users -= 1;
    },
    users: (name) => byName.get(name)?.users ?? 0,
    free(name) {
      const item = byName.get(name);
      if (item === undefined || item.users > 0) return;
      byName.delete(name);
      taken.delete(item.id);
    },
    restore(id, name) {
      if (byName.has(name) || taken.has(id) || id < first || id > last) return false;
      byName.set(name, { id, users: 0 });
      taken.add(id);
      return true;
    },
    unused: () => [...byName].filter(([, { users }]) => users === 0).map(([name]) => name),
    has: (id) => taken.has(id),
  };
}
