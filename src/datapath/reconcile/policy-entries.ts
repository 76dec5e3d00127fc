import type { PolicyEntry, PolicyKey } from "#datapath/gen/structs.ts";
import { keyText, sameEntry } from "./policy-entry.ts";

export interface Entry {
  readonly key: PolicyKey;
  readonly value: PolicyEntry;
}

/** The content of a policy map as we wrote it; knows for each peer how many entries it has. */
export class PolicyEntries {
  readonly #entries = new Map<string, Entry>();
  readonly #peers = new Map<number, number>();

  constructor(entries: Iterable<Entry> = []) {
    for (const entry of entries) this.add(entry);
  }

  get size(): number {
    return this.#entries.size;
  }

  values(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Replaces the entry of that key. */
  add(entry: Entry): void {
    const text = keyText(entry.key);
    const { secLabel } = entry.key;
    if (!this.#entries.has(text)) this.#peers.set(secLabel, this.countOf(secLabel) + 1);
    this.#entries.set(text, entry);
  }

  delete(key: PolicyKey): void {
    if (!this.#entries.delete(keyText(key))) return;
    const left = this.countOf(key.secLabel) - 1;
    if (left > 0) this.#peers.set(key.secLabel, left);
    else this.#peers.delete(key.secLabel);
  }

  /** How many entries a peer has. */
  countOf(peer: number): number {
    return this.#peers.get(peer) ?? 0;
  }

  equals(other: PolicyEntries): boolean {
    if (this.size !== other.size) return false;
    for (const [text, { value }] of this.#entries) {
      const theirs = other.#entries.get(text);
      if (!theirs || !sameEntry(value, theirs.value)) return false;
    }
    return true;
  }
}
