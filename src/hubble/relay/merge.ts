export interface MergeOptions<T> {
  /** What is sorted by; `undefined` goes first. */
  readonly timeOf: (item: T) => bigint | undefined;
  /** How long the oldest item waits for slower streams, milliseconds. */
  readonly drainMs: number;
  /** How many items are held of each stream. */
  readonly perStream: number;
  /** All streams end by themselves: a full queue waits too, since nothing gets lost by it. */
  readonly finite?: boolean;
  /** A stream failed. The others go on. */
  readonly onError: (stream: AsyncIterable<T>, thrown: unknown) => void;
  /** A stream ended, or failed. */
  readonly onEnd?: (stream: AsyncIterable<T>) => void;
}

interface Lane<T> {
  readonly queue: { readonly item: T; readonly time: bigint | undefined; readonly arrived: number }[];
  done: boolean;
  /** It let others wait in vain: nobody waits for it until it gives something. */
  late: boolean;
  /** Lets the pump go on when the queue has room again. */
  resume: () => void;
}

/**
 * Streams that are each in order, as one that is in order: the oldest item goes out when every stream has something newer, when it
 * has waited `drainMs`, or when its stream's queue is full and streams have no end. Streams can be added while it runs.
 */
export class TimeMerge<T> {
  readonly #options: MergeOptions<T>;
  readonly #lanes = new Set<Lane<T>>();
  #wake: () => void = () => undefined;
  #closed = false;

  constructor(options: MergeOptions<T>) {
    this.#options = options;
  }

  /** Streams that have not ended. */
  get active(): number {
    return [...this.#lanes].filter((lane) => !lane.done).length;
  }

  add(stream: AsyncIterable<T>): void {
    const lane: Lane<T> = { queue: [], done: false, late: false, resume: () => undefined };
    this.#lanes.add(lane);
    this.#pump(stream, lane).then(
      () => undefined,
      () => undefined,
    );
  }

  /** Puts one item in front of everything else. */
  insert(item: T): void {
    this.#lanes.add({ queue: [{ item, time: undefined, arrived: 0 }], done: true, late: false, resume: () => undefined });
    this.#wake();
  }

  /** Ends the output when all streams have ended and are drained; with `keepOpen`, only when the signal aborts. */
  async *read(signal: AbortSignal, keepOpen: boolean): AsyncGenerator<T, void> {
    const stop = () => this.#wake();
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        const lane = this.#ready();
        if (lane !== undefined) {
          const head = lane.queue.shift();
          lane.resume();
          if (head !== undefined) yield head.item;
          continue;
        }
        if (this.#lanes.size === 0 && !keepOpen) return;
        await this.#pause();
      }
    } finally {
      this.#closed = true;
      signal.removeEventListener("abort", stop);
      for (const lane of this.#lanes) lane.resume();
    }
  }

  async #pump(stream: AsyncIterable<T>, lane: Lane<T>): Promise<void> {
    try {
      for await (const item of stream) {
        if (this.#closed) return;
        lane.late = false;
        lane.queue.push({ item, time: this.#options.timeOf(item), arrived: performance.now() });
        this.#wake();
        while (lane.queue.length >= this.#options.perStream && !this.#closed) {
          await new Promise<void>((resolve) => {
            lane.resume = resolve;
          });
        }
      }
    } catch (thrown) {
      this.#options.onError(stream, thrown);
    } finally {
      lane.done = true;
      this.#options.onEnd?.(stream);
      this.#wake();
    }
  }

  /** The lane whose head goes out now. Drained lanes of ended streams are dropped on the way. */
  #ready(): Lane<T> | undefined {
    let oldest: Lane<T> | undefined;
    let complete = true;
    for (const lane of this.#lanes) {
      const head = lane.queue[0];
      if (head === undefined) {
        if (lane.done) this.#lanes.delete(lane);
        else if (!lane.late) complete = false;
        continue;
      }
      if (oldest === undefined || isBefore(head.time, oldest.queue[0]?.time)) oldest = lane;
    }
    return oldest !== undefined && (complete || this.#isDue(oldest)) ? oldest : undefined;
  }

  /** Whether the head of a lane goes out although others may still give something older. */
  #isDue({ queue }: Lane<T>): boolean {
    const { finite, perStream, drainMs } = this.#options;
    const [head] = queue;
    if (head?.time === undefined) return true;
    const waited = performance.now() - head.arrived >= drainMs;
    if (waited && finite) this.#giveUp();
    return waited || (!finite && queue.length >= perStream);
  }

  #giveUp(): void {
    for (const lane of this.#lanes) lane.late ||= lane.queue.length === 0;
  }

  /** Until something arrives or the oldest item has waited long enough. */
  async #pause(): Promise<void> {
    const arrivals = [...this.#lanes].flatMap((lane) => (lane.queue[0] === undefined ? [] : [lane.queue[0].arrived]));
    const waitMs = arrivals.length === 0 ? undefined : Math.max(1, Math.min(...arrivals) + this.#options.drainMs - performance.now());
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (waitMs !== undefined) timer = setTimeout(resolve, waitMs);
    });
    clearTimeout(timer);
  }
}

function isBefore(a: bigint | undefined, b: bigint | undefined): boolean {
  if (a === undefined) return b !== undefined;
  return b !== undefined && a < b;
}
