/** What a reader gets: an entry, or how many it missed because it was too slow. */
export type RingItem<T> = { readonly entry: T } | { readonly lost: number };

/** Items a reader gets at once at the most: what it does with them may not keep the writer from writing. */
const BATCH = 256;

/**
 * The newest `capacity` entries, one writer, any number of readers. Writing never waits: a reader that is overtaken learns
 * exactly how many entries it missed. Of those that are important as many again are kept for it, so that it misses the others first.
 */
export class Ring<T> {
  readonly capacity: number;
  readonly #entries: T[] = [];
  readonly #isImportant: (entry: T) => boolean;
  /** The newest important entries, and how many there ever were. */
  readonly #saved: { readonly sequence: number; readonly entry: T }[] = [];
  #savedEver = 0;
  /** Entries ever written: the sequence number of the next one. */
  #written = 0;
  readonly #waiting = new Set<() => void>();

  /** `capacity` must be a power of two minus one, as in Hubble (4095 by default). Throws RangeError otherwise. */
  constructor(capacity: number, isImportant: (entry: T) => boolean = () => false) {
    if (!Number.isInteger(Math.log2(capacity + 1)) || capacity < 1 || capacity > 65535) {
      throw new RangeError(`ring capacity ${capacity}: must be a power of two minus one, from 1 to 65535`);
    }
    this.capacity = capacity;
    this.#isImportant = isImportant;
  }

  /** Entries held now. */
  get length(): number {
    return this.#entries.length;
  }

  /** Entries ever written. */
  get written(): number {
    return this.#written;
  }

  /** Sequence number of the oldest entry held. */
  get oldest(): number {
    return this.#written - this.#entries.length;
  }

  write(entry: T): void {
    if (this.#entries.length < this.capacity) this.#entries.push(entry);
    else this.#entries[this.#written % this.capacity] = entry;
    if (this.#isImportant(entry)) this.#saved[this.#savedEver++ % this.capacity] = { sequence: this.#written, entry };
    this.#written++;
    if (this.#waiting.size > 0) this.#wake();
  }

  /** The entry of a sequence number, undefined when it is gone or not there yet. */
  at(sequence: number): T | undefined {
    if (sequence < this.oldest || sequence >= this.#written) return undefined;
    return this.#entries[sequence % this.capacity];
  }

  /** Resolves when there is an entry at or after `sequence`, or the signal aborts. */
  async wait(sequence: number, signal: AbortSignal): Promise<void> {
    while (this.#written <= sequence && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#waiting.delete(done);
          signal.removeEventListener("abort", done);
          resolve();
        };
        this.#waiting.add(done);
        signal.addEventListener("abort", done, { once: true });
      });
    }
  }

  /**
   * Everything from `from` on, as many items at once as are there (up to `BATCH`); with `follow` also what is written later, until the
   * signal aborts.
   */
  async *read(
    from: number,
    options: { readonly follow: boolean; readonly signal: AbortSignal },
  ): AsyncGenerator<readonly RingItem<T>[], void> {
    const end = options.follow ? Number.POSITIVE_INFINITY : this.#written;
    let next = from;
    while (next < end && !options.signal.aborted) {
      if (next >= this.#written) {
        await this.wait(next, options.signal);
        continue;
      }
      const oldest = Math.min(this.oldest, end);
      if (next < oldest) {
        const [items, to] = this.#overtaken(next, oldest);
        next = to;
        yield items;
        continue;
      }
      const batch: RingItem<T>[] = [];
      for (const stop = Math.min(end, this.#written, next + BATCH); next < stop; next++) {
        const entry = this.at(next);
        if (entry !== undefined) batch.push({ entry });
      }
      yield batch;
    }
  }

  /** What became of entries that the ring holds no more, from `from` on: how many are lost, those that are not, and where they end. */
  #overtaken(from: number, end: number): [items: RingItem<T>[], to: number] {
    const saved: { readonly sequence: number; readonly entry: T }[] = [];
    for (let at = this.#savedEver - 1; at >= Math.max(0, this.#savedEver - this.capacity); at--) {
      const found = this.#saved[at % this.capacity];
      if (found === undefined || found.sequence < from) break;
      if (found.sequence < end) saved.push(found);
    }
    const kept = saved.reverse().slice(0, BATCH);
    const to = saved[BATCH]?.sequence ?? end;
    const lost = to - from - kept.length;
    return [[...(lost > 0 ? [{ lost }] : []), ...kept.map(({ entry }) => ({ entry }))], to];
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
