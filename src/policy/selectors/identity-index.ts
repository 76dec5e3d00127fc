import { labelKey, labelSource } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { Requirement } from "#labels/selector.ts";
import type { NumericIdentity } from "#types/identity.ts";

type Labelled = { readonly id: NumericIdentity; readonly labels: LabelSet };

/** Identities that may meet a requirement: all that do, and perhaps some that do not. */
export type Candidates = { readonly size: number; has(id: NumericIdentity): boolean; [Symbol.iterator](): Iterator<NumericIdentity> };

function reservedKeys(labels: LabelSet): string[] {
  if (!labels.has(labelSource.reserved)) return [];
  return labels.labels.flatMap(({ source, key }) => (source === labelSource.reserved ? [key] : []));
}

const nobody: Candidates = new Set<NumericIdentity>();

/** Identities by the value of one label key, whatever its source. */
class KeyIndex {
  readonly #byValue = new Map<string, Set<NumericIdentity>>();
  /** Whoever has the key; made when it is first asked for, as most keys are only ever asked for with a value. */
  #all: Set<NumericIdentity> | undefined;

  add(value: string, id: NumericIdentity): void {
    this.#all?.add(id);
    const bucket = this.#byValue.get(value);
    if (bucket === undefined) this.#byValue.set(value, new Set([id]));
    else bucket.add(id);
  }

  delete(value: string, id: NumericIdentity): void {
    this.#all?.delete(id);
    const bucket = this.#byValue.get(value);
    if (bucket?.delete(id) === true && bucket.size === 0) this.#byValue.delete(value);
  }

  find(one: Requirement): Candidates {
    if (one.operator !== "Exists") return this.#byValue.get(one.values[0] ?? "") ?? nobody;
    this.#all ??= new Set(Array.from(this.#byValue.values(), (ids) => [...ids]).flat());
    return this.#all;
  }
}

/** Identities by their labels. A key is indexed when it is first asked for: few of all keys ever are. */
export class IdentityIndex {
  readonly #keys = new Map<string, KeyIndex>();
  /** By the keys of their reserved labels, which always have the same few. */
  readonly #reserved = new Map<string, Set<NumericIdentity>>();
  readonly #forEach: (visit: (one: Labelled) => void) => void;

  /** `forEach` visits what is known when a key is first asked for. */
  constructor(forEach: (visit: (one: Labelled) => void) => void) {
    this.#forEach = forEach;
  }

  add({ id, labels }: Labelled): void {
    for (const key of reservedKeys(labels)) this.#reserved.set(key, (this.#reserved.get(key) ?? new Set()).add(id));
    if (this.#keys.size === 0) return;
    for (const { key, value } of labels.labels) this.#keys.get(key)?.add(value, id);
  }

  delete({ id, labels }: Labelled): void {
    for (const key of reservedKeys(labels)) this.#reserved.get(key)?.delete(id);
    for (const { key, value } of labels.labels) this.#keys.get(key)?.delete(value, id);
  }

  /** The identities by a requirement that is Exists or names one value. Undefined where looking for them is no help. */
  of(one: Requirement): Candidates | undefined {
    if (one.source === labelSource.reserved) return this.#reserved.get(one.key) ?? nobody;
    // The local cluster's name is on nearly all.
    if (one.key === labelKey.cluster) return undefined;
    return (this.#keys.get(one.key) ?? this.#build(one.key)).find(one);
  }

  #build(key: string): KeyIndex {
    const index = new KeyIndex();
    this.#forEach(({ id, labels }) => {
      for (const one of labels.of(key)) index.add(one.value, id);
    });
    this.#keys.set(key, index);
    return index;
  }
}
