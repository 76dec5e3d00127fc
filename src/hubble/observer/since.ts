import type { History, HistoryRange } from "../history/history.ts";
import type { HistoryEntry } from "../history/segment.ts";
import type { Ring, RingItem } from "../ring.ts";
import type { Entry } from "./observer.ts";
import { type RangeRequest, readRange, type Start, startOf } from "./range.ts";

/**
 * As `readRange`, and what the ring has forgotten since the time that is asked for comes from the history. An entry comes once: the
 * history is read up to where the ring begins, and again for what left the ring meanwhile.
 */
export async function* readSince(
  ring: Ring<Entry>,
  history: History | undefined,
  request: RangeRequest,
  matches: (entry: Entry) => boolean,
  signal: AbortSignal,
): AsyncGenerator<readonly RingItem<Entry>[], void> {
  const start = startOf(ring, request, matches);
  if (history === undefined || request.since === undefined || start.at > ring.oldest) {
    yield* readRange(ring, request, matches, signal, start.at);
    return;
  }
  const { since, until, first, number } = request;
  const wanted = (entry: Entry) => entry.kind === "lost" || matches(entry);
  const place = { next: start.at };
  let left = first && number > 0 ? number : Number.POSITIVE_INFINITY;
  for await (const entry of forgotten(ring, history, request, start, place, { since, until, matches: wanted, signal })) {
    yield [{ entry }];
    if (entry.kind !== "lost" && --left === 0) return;
  }
  yield* readRange(ring, first ? { ...request, number: Number.isFinite(left) ? left : 0 } : request, matches, signal, place.next);
}

/** What is not in the ring, oldest first. When it ends, `place.next` is in the ring and everything before it has come. */
async function* forgotten(
  ring: Ring<Entry>,
  history: History,
  { first, number }: RangeRequest,
  start: Start,
  place: { next: number },
  range: Omit<HistoryRange, "from" | "to">,
): AsyncGenerator<HistoryEntry, void> {
  const before = { ...range, from: 0, to: start.at };
  if (number > 0 && !first) yield* await history.newest(before, number - start.found);
  else yield* history.read(before);
  while (ring.oldest > place.next) {
    const from = place.next;
    place.next = ring.oldest;
    yield* history.read({ ...range, from, to: place.next });
  }
}
