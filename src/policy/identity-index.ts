import type { LabelSet } from "#labels/label-set.ts";
import type { Requirement } from "#labels/selector.ts";
import type { NumericIdentity } from "#types/identity.ts";

type Labelled = { readonly id: NumericIdentity; readonly labels: LabelSet };

/** Identities by the value of one label key, whatever its source. */
class KeyIndex {
  readonly #byValue = new Map<string, Set<NumericIdentity>>();
  /** Identities with the key, some more than once. */
  #size = 0;

  add(value: string, id: NumericIdentity): void {
    this.#size++;
    const bucket = this.#byValue.get(value);
    if (bucket === undefined) this.#byValue.set(value, new Set([id]));
    else bucket.add(id);
  }

  delete(value: string, id: NumericIdentity): void {
    const bucket = this.#byValue.get(value);
    if (bucket?.delete(id) !== true) return;
    this.#size--;
    if (bucket.size === 0) this.#byValue.delete(value);
  }

  /** How many identities `find` gives at most. */
  count(one: Requirement): number {
    return one.operator === "Exists" ? this.#size : (this.#byValue.get(one.values[0] ?? "")?.size ?? 0);
  }

  *find(one: Requirement): Generator<NumericIdentity> {
    if (one.operator === "Exists") for (const bucket of this.#byValue.values()) yield* bucket;
    else yield* this.#byValue.get(one.values[0] ?? "") ?? [];
  }
}

/** Identities by their labels. A key is indexed when it is first asked for: few of all keys ever are. */
export class IdentityIndex {
  readonly #keys = new Map<string, KeyIndex>();
  readonly #all: () => Iterable<Labelled>;

  /** `all` gives what is known when a key is first asked for. */
  constructor(all: () => Iterable<Labelled>) {
    this.#all = all;
  }

  add({ id, labels }: Labelled): void {
    for (const { key, value } of labels.labels) this.#keys.get(key)?.add(value, id);
  }

  delete({ id, labels }: Labelled): void {
    for (const { key, value } of labels.labels) this.#keys.get(key)?.delete(value, id);
  }

  /** The identities by a requirement that is Exists or names one value; of any source of the key. */
  of(one: Requirement): { readonly count: number; readonly find: () => Iterable<NumericIdentity> } {
    const index = this.#keys.get(one.key) ?? this.#build(one.key);
    return { count: index.count(one), find: () => index.find(one) };
  }

  #build(key: string): KeyIndex {
    const index = new KeyIndex();
    for (const { id, labels } of this.#all()) for (const one of labels.of(key)) index.add(one.value, id);
    this.#keys.set(key, index);
    return index;
  }
}
