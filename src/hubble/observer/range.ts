import type { Ring, RingItem } from "../ring.ts";
import type { Entry } from "./observer.ts";

/** What part of the ring a request is about. Times are nanoseconds since 1970. */
export interface RangeRequest {
  /** 0: no limit. */
  readonly number: number;
  readonly first: boolean;
  readonly follow: boolean;
  readonly since: bigint | undefined;
  readonly until: bigint | undefined;
}

/** Where to start in the ring, and how many entries from there on match; the latter only counts when a number of them is wanted. */
export interface Start {
  readonly at: number;
  readonly found: number;
}

/** The sequence number to start at, so that the newest `number` entries that match come, or the oldest, or those since a time. */
export function startOf(ring: Ring<Entry>, request: RangeRequest, matches: (entry: Entry) => boolean): Start {
  const { number, first, follow, since, until } = request;
  if (number === 0 && since === undefined) return { at: follow && !first ? ring.written : ring.oldest, found: 0 };
  const wanted = number === 0 || first ? Number.POSITIVE_INFINITY : number;
  let start = ring.written;
  let found = 0;
  for (let at = ring.written - 1; at >= ring.oldest; at--) {
    const entry = ring.at(at);
    if (entry === undefined || (since !== undefined && entry.time < since)) break;
    start = at;
    if ((until === undefined || entry.time <= until) && matches(entry)) found++;
    if (found >= wanted) break;
  }
  return { at: start, found };
}

/**
 * Entries of a request in their order, and everybody's losses: those of the ring for a slow reader, and reports in the ring, which
 * do not count. Ends after `number` entries when they are to be the first ones, at `until`, or with the ring.
 */
export async function* readRange(
  ring: Ring<Entry>,
  request: RangeRequest,
  matches: (entry: Entry) => boolean,
  signal: AbortSignal,
  start = startOf(ring, request, matches).at,
): AsyncGenerator<RingItem<Entry>, void> {
  let left = request.first && request.number > 0 ? request.number : Number.POSITIVE_INFINITY;
  for await (const item of ring.read(start, { follow: request.follow, signal })) {
    if ("lost" in item) {
      yield item;
      continue;
    }
    const { entry } = item;
    if (request.until !== undefined && entry.time > request.until) return;
    if (request.since !== undefined && entry.time < request.since) continue;
    if (entry.kind !== "lost" && !matches(entry)) continue;
    yield item;
    if (entry.kind !== "lost" && --left === 0) return;
  }
}
