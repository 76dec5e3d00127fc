import { labelKey, labelSource } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { Requirement } from "#labels/selector.ts";
import type { NumericIdentity } from "#types/identity.ts";

type Labelled = { readonly id: NumericIdentity; readonly labels: LabelSet };

type Ids = ReadonlySet<NumericIdentity>;

function reservedKeys(labels: LabelSet): string[] {
  if (!labels.has(labelSource.reserved)) return [];
  return labels.labels.flatMap(({ source, key }) => (source === labelSource.reserved ? [key] : []));
}

const nobody: Ids = new Set<NumericIdentity>();

/** Identities by the value of one label. */
class ValueIndex {
  readonly #source: string;
  readonly #key: string;
  readonly #byValue = new Map<string, Set<NumericIdentity>>();
  /** Whoever has the label; made when it is first asked for, as most labels are only ever asked for with a value. */
  #all: Set<NumericIdentity> | undefined;

  constructor({ source, key }: Requirement) {
    this.#source = source;
    this.#key = key;
  }

  add({ id, labels }: Labelled): void {
    const value = labels.get(this.#source, this.#key)?.value;
    if (value === undefined) return;
    this.#all?.add(id);
    const ids = this.#byValue.get(value);
    if (ids === undefined) this.#byValue.set(value, new Set([id]));
    else ids.add(id);
  }

  delete({ id, labels }: Labelled): void {
    const value = labels.get(this.#source, this.#key)?.value;
    if (value === undefined) return;
    this.#all?.delete(id);
    const ids = this.#byValue.get(value);
    if (ids?.delete(id) === true && ids.size === 0) this.#byValue.delete(value);
  }

  find({ operator, values }: Requirement): Ids {
    if (operator !== "Exists") return this.#byValue.get(values[0] ?? "") ?? nobody;
    this.#all ??= new Set(Array.from(this.#byValue.values(), (ids) => [...ids]).flat());
    return this.#all;
  }
}

/** Identities by their labels. A label is indexed when it is first asked for: few of all ever are. */
export class IdentityIndex {
  readonly #labels = new Map<string, ValueIndex>();
  /** By the keys of their reserved labels, which always have the same few. */
  readonly #reserved = new Map<string, Set<NumericIdentity>>();
  readonly #known: () => Iterable<Labelled>;

  /** `known` gives what there is when a label is first asked for. */
  constructor(known: () => Iterable<Labelled>) {
    this.#known = known;
  }

  add(one: Labelled): void {
    for (const key of reservedKeys(one.labels)) this.#reserved.set(key, (this.#reserved.get(key) ?? new Set()).add(one.id));
    for (const index of this.#labels.values()) index.add(one);
  }

  delete(one: Labelled): void {
    for (const key of reservedKeys(one.labels)) this.#reserved.get(key)?.delete(one.id);
    for (const index of this.#labels.values()) index.delete(one);
  }

  /** The identities that meet a requirement that is Exists or names one value. Undefined where looking for them is no help. */
  of(one: Requirement): Ids | undefined {
    if (one.source === labelSource.reserved) return one.operator === "Exists" ? (this.#reserved.get(one.key) ?? nobody) : undefined;
    // The local cluster's name is on nearly all.
    if (one.key === labelKey.cluster) return undefined;
    return (this.#labels.get(`${one.source}:${one.key}`) ?? this.#build(one)).find(one);
  }

  #build(one: Requirement): ValueIndex {
    const index = new ValueIndex(one);
    for (const entry of this.#known()) index.add(entry);
    this.#labels.set(`${one.source}:${one.key}`, index);
    return index;
  }
}
