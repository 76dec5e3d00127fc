import type { LabelSet } from "#labels/label-set.ts";
import { clusterIdentityRange, type NumericIdentity } from "#types/identity.ts";

const size = clusterIdentityRange.last - clusterIdentityRange.first + 1;

/** FNV-1a over UTF-16 units, with a final mix so that near texts land far apart. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

/** The canonical form that identities are made of: equal label sets, equal keys. */
export function identityKey(labels: LabelSet): string {
  return labels.key;
}

/**
 * The cluster-wide numbers at which this label set may live, best first: where its hash points, then linearly onwards, once around. Two agents
 * that race to create the same CiliumIdentity therefore try the same name, and the API server's 409 tells the later one.
 */
export function* identityCandidates(labels: LabelSet): Generator<NumericIdentity> {
  const start = hash(identityKey(labels)) % size;
  for (let i = 0; i < size; i++) yield (clusterIdentityRange.first + ((start + i) % size)) as NumericIdentity;
}

/** A number for a label set: the one it has already, or the first free one; undefined when all are taken. */
export function chooseIdentity(
  labels: LabelSet,
  taken: (id: NumericIdentity) => LabelSet | undefined,
): { readonly id: NumericIdentity; readonly exists: boolean } | undefined {
  let free: NumericIdentity | undefined;
  for (const id of identityCandidates(labels)) {
    const holder = taken(id);
    if (holder?.key === labels.key) return { id, exists: true };
    // A hole ends the probe: had the set been stored, it would be here or before.
    if (holder === undefined) {
      free = id;
      break;
    }
  }
  return free === undefined ? undefined : { id: free, exists: false };
}
