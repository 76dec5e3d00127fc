import type { LabelSet } from "#labels/label-set.ts";
import { localCidrIdentityFirst, type NumericIdentity, remoteNodeIdentityFirst } from "#types/identity.ts";

/** Numbers that are valid on this node only, one for each label set, counted by use. */
export interface LocalAllocator {
  /** One more use of the label set's number; makes it when there is none. Throws RangeError when the scope is full. */
  acquire(labels: LabelSet): { readonly id: NumericIdentity; readonly isNew: boolean };
  /** One use less; at zero the number is free again. Undefined when the set has none. */
  release(labels: LabelSet): { readonly id: NumericIdentity; readonly isGone: boolean } | undefined;
  /** Takes a number over from before a restart, with one use. False when it is in use by other labels. */
  restore(id: NumericIdentity, labels: LabelSet): boolean;
  get(labels: LabelSet): NumericIdentity | undefined;
  labelsOf(id: NumericIdentity): LabelSet | undefined;
  entries(): IterableIterator<readonly [NumericIdentity, LabelSet]>;
}

/** Numbers for addresses outside (CIDR, FQDN): 16777217 and up. */
export function createCidrAllocator(): LocalAllocator {
  return createLocalAllocator(localCidrIdentityFirst, localCidrIdentityFirst + 0xfffffe);
}

/** Numbers for remote nodes with labels of their own: 33554433 and up. */
export function createRemoteNodeAllocator(): LocalAllocator {
  return createLocalAllocator(remoteNodeIdentityFirst + 1, remoteNodeIdentityFirst + 0xffffff);
}

/** Numbers from `first` to `last`. A freed number is not given out again before the others are used up: packets may still carry it. */
export function createLocalAllocator(first: number, last: number): LocalAllocator {
  const byKey = new Map<string, { id: NumericIdentity; uses: number }>();
  const byId = new Map<NumericIdentity, LabelSet>();
  let next = first;

  function nextFree(): NumericIdentity {
    for (let i = 0; i <= last - first; i++) {
      const id = next as NumericIdentity;
      next = next === last ? first : next + 1;
      if (!byId.has(id)) return id;
    }
    throw new RangeError(`all local identities from ${first} to ${last} are in use`);
  }

  return {
    acquire(labels) {
      const present = byKey.get(labels.key);
      if (present !== undefined) {
        present.uses++;
        return { id: present.id, isNew: false };
      }
      const id = nextFree();
      byKey.set(labels.key, { id, uses: 1 });
      byId.set(id, labels);
      return { id, isNew: true };
    },
    release(labels) {
      const present = byKey.get(labels.key);
      if (present === undefined) return undefined;
      present.uses--;
      if (present.uses > 0) return { id: present.id, isGone: false };
      byKey.delete(labels.key);
      byId.delete(present.id);
      return { id: present.id, isGone: true };
    },
    restore(id, labels) {
      const holder = byId.get(id);
      if (holder !== undefined || byKey.has(labels.key) || id < first || id > last) return holder?.key === labels.key;
      byKey.set(labels.key, { id, uses: 1 });
      byId.set(id, labels);
      return true;
    },
    get: (labels) => byKey.get(labels.key)?.id,
    labelsOf: (id) => byId.get(id),
    entries: () => byId.entries(),
  };
}
