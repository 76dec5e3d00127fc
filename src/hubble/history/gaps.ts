import { type LostEvent, LostEventSource } from "#api/gen/flow/events_pb.ts";
import { nanosecondsOf, timestampOf } from "../parser/messages.ts";

/** A run of entries that the disk did not take. Sequences count from `from` to before `to`, times are nanoseconds since 1970. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** Runs that are told apart; beyond that the oldest two become one, which claims what lies between. */
const MAX_GAPS = 4096;

/** What is missing on disk and not yet said there. */
export class Gaps {
  #gaps: Gap[] = [];
  /** Those on their way to the disk. */
  #taken: readonly Gap[] = [];

  add(gap: Gap): void {
    const before = this.#gaps.findLastIndex(({ to }) => to === gap.from);
    const found = this.#gaps[before];
    if (found !== undefined) this.#gaps[before] = { ...found, to: gap.to, last: gap.last };
    else this.#gaps.push(gap);
    const [oldest, next, ...rest] = this.#gaps.length > MAX_GAPS ? this.#gaps : [];
    if (oldest && next) this.#gaps = [{ ...oldest, to: next.to, last: next.last }, ...rest];
  }

  list(): readonly Gap[] {
    return [...this.#taken, ...this.#gaps];
  }

  /** Hands over those that begin before a sequence; what became of them says `settle`. */
  take(sequence: number): readonly Gap[] {
    this.#taken = this.#gaps.filter(({ from }) => from < sequence);
    this.#gaps = this.#gaps.filter(({ from }) => from >= sequence);
    return this.#taken;
  }

  /** What was handed over is on disk, or is not. */
  settle(onDisk: boolean): void {
    const since = this.#gaps;
    if (!onDisk) {
      this.#gaps = [...this.#taken];
      for (const gap of since) this.add(gap);
    }
    this.#taken = [];
  }
}

/** What of a gap lies in a range of sequences, as the report that a stream carries; undefined when nothing does. */
export function lossIn({ from, to, first, last }: Gap, range: { readonly from: number; readonly to: number }): LostEvent | undefined {
  const count = Math.min(to, range.to) - Math.max(from, range.from);
  if (count <= 0) return undefined;
  return {
    $typeName: "flow.LostEvent",
    source: LostEventSource.HUBBLE_RING_BUFFER,
    numEventsLost: BigInt(count),
    first: timestampOf(first),
    last: timestampOf(last),
  };
}

/** The inverse, of the report of a whole gap. */
export function gapOf(from: number, { numEventsLost, first, last }: LostEvent): Gap {
  return { from, to: from + Number(numEventsLost), first: nanosecondsOf(first), last: nanosecondsOf(last) };
}
