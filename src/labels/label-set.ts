import { formatLabel, type Label, labelSource, parseLabel } from "./label.ts";

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

/** What is asked of many sets, or of many labels, is looked up by key; what is asked of few is written when it is asked for. */
class SortedLabels implements LabelSet {
  readonly labels: readonly Label[];
  /** The first label of each key: few keys have another one, of another source. */
  readonly #first = new Map<string, Label>();
  #texts: readonly string[] | undefined;
  #key: string | undefined;

  constructor(labels: readonly Label[]) {
    this.labels = labels;
    for (const one of labels) if (!this.#first.has(one.key)) this.#first.set(one.key, one);
  }

  get texts(): readonly string[] {
    this.#texts ??= this.labels.map(formatLabel);
    return this.#texts;
  }

  get key(): string {
    // A value may hold anything but a line feed (a label's alphabet has none).
    this.#key ??= this.labels.map(({ source, key, value }) => `${source}:${key}=${value};`).join("");
    return this.#key;
  }

  get(source: string, key: string): Label | undefined {
    const first = this.#first.get(key);
    if (first === undefined || first.source === source || source === labelSource.any) return first;
    return this.labels.find((one) => one.source === source && one.key === key);
  }

  of(key: string): readonly Label[] {
    return this.labels.filter((one) => one.key === key);
  }

  has(source: string): boolean {
    return this.labels.some((one) => one.source === source);
  }
}

const compareLabels = (a: Label, b: Label) => compare(a.source, b.source) || compare(a.key, b.key);

/** Makes a set of labels; of two with equal source and key the later one stays. */
export function labelSetOf(labels: Iterable<Label>): LabelSet {
  const sorted = [...labels].sort(compareLabels);
  const isLast = (one: Label, i: number) => i + 1 === sorted.length || compareLabels(one, sorted[i + 1] as Label) !== 0;
  return new SortedLabels(sorted.filter(isLast));
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
