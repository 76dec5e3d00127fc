import type { Label } from "#labels/label.ts";
import type { Requirement } from "#labels/selector.ts";

type Waiting<T> = { readonly forKey: Set<T>; readonly byValue: Map<string, Set<T>> };

/** Things that wait for labels: each under one requirement, its anchor, that is Exists or names one value. */
export class AnchorIndex<T> {
  readonly #byKey = new Map<string, Waiting<T>>();

  add({ key, operator, values }: Requirement, one: T): void {
    const waiting = this.#byKey.get(key) ?? { forKey: new Set(), byValue: new Map<string, Set<T>>() };
    this.#byKey.set(key, waiting);
    if (operator === "Exists") {
      waiting.forKey.add(one);
      return;
    }
    const value = values[0] ?? "";
    waiting.byValue.set(value, (waiting.byValue.get(value) ?? new Set()).add(one));
  }

  delete({ key, operator, values }: Requirement, one: T): void {
    const waiting = this.#byKey.get(key);
    if (waiting === undefined) return;
    const value = values[0] ?? "";
    const set = operator === "Exists" ? waiting.forKey : waiting.byValue.get(value);
    if (set?.delete(one) === true && set.size === 0) waiting.byValue.delete(value);
    if (waiting.forKey.size === 0 && waiting.byValue.size === 0) this.#byKey.delete(key);
  }

  /** Calls back with all that one of the labels may concern. */
  forEach(labels: readonly Label[], visit: (one: T) => void): void {
    if (this.#byKey.size === 0) return;
    for (const { key, value } of labels) {
      const waiting = this.#byKey.get(key);
      if (waiting === undefined) continue;
      waiting.forKey.forEach(visit);
      waiting.byValue.get(value)?.forEach(visit);
    }
  }
}
