import { listSegments, type Segment } from "./retention.ts";
import { type HistoryEntry, type RawRecord, readSegment } from "./segment.ts";

/** Which part of the history is wanted. Times are nanoseconds since 1970. */
export interface HistoryQuery {
  readonly since: bigint;
  readonly until: bigint | undefined;
  /** Of the run that writes now, only records from `from` to before `to`; earlier runs only when `from` is 0. */
  readonly run: string;
  readonly from: number;
  readonly to: number;
  matches(entry: HistoryEntry): boolean;
  readonly signal: AbortSignal;
}

/** Matching entries, oldest first. */
export async function* readHistory(directory: string, query: HistoryQuery): AsyncGenerator<HistoryEntry, void> {
  for (const segment of await coveredSegments(directory, query)) yield* readMatches(segment, query);
}

/** The newest `limit` matching entries, oldest first; only as many segments are read as that needs. */
export async function readNewest(directory: string, query: HistoryQuery, limit: number): Promise<HistoryEntry[]> {
  let newest: HistoryEntry[] = [];
  for (const segment of (await coveredSegments(directory, query)).reverse()) {
    const found: HistoryEntry[] = [];
    const wanted = limit - newest.length;
    for await (const entry of readMatches(segment, query)) {
      found.push(entry);
      if (found.length > 2 * wanted) found.splice(0, found.length - wanted);
    }
    newest = [...found.slice(-wanted), ...newest];
    if (newest.length >= limit) break;
  }
  return newest;
}

async function coveredSegments(directory: string, { since, until, run, from }: HistoryQuery): Promise<Segment[]> {
  const segments = await listSegments(directory);
  return segments.filter(
    (segment) =>
      BigInt(Math.ceil(segment.writtenMs)) * 1_000_000n >= since &&
      (until === undefined || segment.firstTime <= until) &&
      (from === 0 || segment.run === run),
  );
}

async function* readMatches(segment: Segment, query: HistoryQuery): AsyncGenerator<HistoryEntry, void> {
  for await (const record of readSegment(segment.path)) {
    if (query.signal.aborted) return;
    if (!inRange(record, segment, query)) continue;
    const entry = record.decode();
    if (query.matches(entry)) yield entry;
  }
}

function inRange({ sequence, time }: RawRecord, { run }: Segment, query: HistoryQuery): boolean {
  if (time < query.since || (query.until !== undefined && time > query.until)) return false;
  return run !== query.run || (sequence >= query.from && sequence < query.to);
}
