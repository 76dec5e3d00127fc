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
 * Entries of a request in their order, as many at once as are there, and everybody's losses: those of the ring for a slow reader, and
 * reports in the ring, which do not count. Ends after `number` entries when they are to be the first ones, at `until`, or with the ring.
 */
export async function* readRange(
  ring: Ring<Entry>,
  request: RangeRequest,
  matches: (entry: Entry) => boolean,
  signal: AbortSignal,
  start = startOf(ring, request, matches).at,
): AsyncGenerator<readonly RingItem<Entry>[], void> {
  let left = request.first && request.number > 0 ? request.number : Number.POSITIVE_INFINITY;
  const { since = 0n, until } = request;
  const isWanted = (item: RingItem<Entry>) =>
    "lost" in item || (item.entry.time >= since && (item.entry.kind === "lost" || matches(item.entry)));
  for await (const batch of ring.read(start, { follow: request.follow, signal })) {
    const over = until === undefined ? -1 : batch.findIndex((item) => "entry" in item && item.entry.time > until);
    const wanted = (over < 0 ? batch : batch.slice(0, over)).filter(isWanted);
    const last = nthCounted(wanted, left);
    left -= wanted.filter(isCounted).length;
    if (wanted.length > 0) yield wanted.slice(0, last);
    if (over >= 0 || left <= 0) return;
  }
}

function isCounted(item: RingItem<Entry>): boolean {
  return "entry" in item && item.entry.kind !== "lost";
}

/** How many items there are up to the one that counts as the `count`th. */
function nthCounted(items: readonly RingItem<Entry>[], count: number): number {
  if (count >= items.length) return items.length;
  let left = count;
  const index = items.findIndex((item) => isCounted(item) && --left === 0);
  return index < 0 ? items.length : index + 1;
}
