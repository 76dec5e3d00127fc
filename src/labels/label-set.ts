import { formatLabel, type Label, parseLabel } from "./label.ts";

/** An immutable set of labels, one for each source and key, in canonical order: equal sets have equal `key`s. */
export type LabelSet = {
  /** Sorted by source, then key. */
  readonly labels: readonly Label[];
  /** `source:key=value`, or `source:key` where the value is empty; in the same order. */
  readonly texts: readonly string[];
  /** One string for the whole set; the form that identities are hashed from. */
  readonly key: string;
  /** The label of this source and key; source `any` takes the first of any source. */
  get(source: string, key: string): Label | undefined;
  /** The labels of this key, of every source. */
  of(key: string): readonly Label[];
  /** Whether a label of this source is there. */
  has(source: string): boolean;
};

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const none: readonly Label[] = [];

/** Makes a set of labels; of two with equal source and key the later one stays. */
export function labelSetOf(labels: Iterable<Label>): LabelSet {
  const bySourceKey = new Map<string, Label>();
  for (const one of labels) bySourceKey.set(`${one.source}:${one.key}`, one);
  const sorted = [...bySourceKey.values()].sort((a, b) => compare(a.source, b.source) || compare(a.key, b.key));
  // Sources of one key are few, so a short list is quicker than a joined key.
  const byKey = new Map<string, Label[]>();
  for (const one of sorted) {
    const same = byKey.get(one.key);
    if (same === undefined) byKey.set(one.key, [one]);
    else same.push(one);
  }
  const find = (source: string, key: string): Label | undefined => {
    const same = byKey.get(key);
    if (same === undefined) return undefined;
    if (source === "any") return same[0];
    for (const one of same) if (one.source === source) return one;
    return undefined;
  };
  const texts = sorted.map(formatLabel);
  const sources = new Set(sorted.map((one) => one.source));
  return {
    labels: sorted,
    texts,
    // A value may hold anything but a line feed (a label's alphabet has none).
    key: sorted.map(({ source, key, value }) => `${source}:${key}=${value};`).join(""),
    get: find,
    of: (key) => byKey.get(key) ?? none,
    has: (source) => sources.has(source),
  };
}

/** Makes a set of labels from `source:key=value` texts. */
export function labelSet(texts: Iterable<string>): LabelSet {
  return labelSetOf(Array.from(texts, parseLabel));
}

/** Reads the form of CiliumIdentity `security-labels`: `{"k8s:app": "web"}`. */
export function labelSetFromRecord(record: Readonly<Record<string, string>>): LabelSet {
  return labelSetOf(Object.entries(record).map(([name, value]) => ({ ...parseLabel(name), value })));
}

/** Writes the form of CiliumIdentity `security-labels`. */
export function labelSetToRecord(set: LabelSet): Record<string, string> {
  return Object.fromEntries(set.labels.map(({ source, key, value }) => [`${source}:${key}`, value]));
}
