import { type Gap, lossIn } from "./gaps.ts";
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
  /** What this run has not written and not yet said on disk. */
  readonly unsaid: readonly Gap[];
  matches(entry: HistoryEntry): boolean;
  readonly signal: AbortSignal;
}

/** Entries more than are wanted at which a list is cut. */
const TRIM_AFTER = 1024;
const EVERYTHING = { from: 0, to: Number.POSITIVE_INFINITY };

/** Matching entries, oldest first. */
export async function* readHistory(directory: string, query: HistoryQuery): AsyncGenerator<HistoryEntry, void> {
  const said = new Set<number>();
  for (const segment of await coveredSegments(directory, query)) yield* readMatches(segment, query, said);
  yield* unsaid(query, said);
}

/** The newest `limit` matching flows, oldest first, and losses between them; only as many segments are read as that needs. */
export async function readNewest(directory: string, query: HistoryQuery, limit: number): Promise<HistoryEntry[]> {
  let newest: HistoryEntry[] = [];
  let wanted = limit;
  const said = new Set<number>();
  for (const segment of (await coveredSegments(directory, query)).reverse()) {
    let found: HistoryEntry[] = [];
    for await (const entry of readMatches(segment, query, said)) {
      found.push(entry);
      if (found.length > 2 * wanted + TRIM_AFTER) found = newestFlows(found, wanted);
    }
    found = newestFlows(found, wanted);
    newest = [...found, ...newest];
    wanted -= found.filter(isFlow).length;
    if (wanted <= 0) break;
  }
  return [...newest, ...unsaid(query, said)];
}

/** The end of a list from its `count`th last flow on. */
function newestFlows(entries: HistoryEntry[], count: number): HistoryEntry[] {
  let left = count;
  const start = entries.findLastIndex((entry) => isFlow(entry) && --left === 0);
  return start < 0 ? entries : entries.slice(start);
}

function isFlow({ kind }: HistoryEntry): boolean {
  return kind === "flow";
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

/** Adds to `said` where the gaps of the present run begin that it comes across. */
async function* readMatches(segment: Segment, query: HistoryQuery, said: Set<number>): AsyncGenerator<HistoryEntry, void> {
  const range = segment.run === query.run ? query : EVERYTHING;
  for await (const record of readSegment(segment.path)) {
    if (query.signal.aborted) return;
    if (record.gap !== undefined && segment.run === query.run) said.add(record.gap.from);
    if (!inTime(record.time, query)) continue;
    const entry = entryIn(range, record);
    if (entry !== undefined && query.matches(entry)) yield entry;
  }
}

/** A record as an entry, or what of a gap lies in the range; undefined for one outside. */
function entryIn(range: Pick<HistoryQuery, "from" | "to">, { sequence, time, gap, decode }: RawRecord): HistoryEntry | undefined {
  if (gap === undefined) return sequence >= range.from && sequence < range.to ? decode() : undefined;
  const event = lossIn(gap, range);
  return event && { kind: "lost", time, event };
}

/** What is missing without the disk saying so. */
function unsaid(query: HistoryQuery, said: ReadonlySet<number>): HistoryEntry[] {
  return query.unsaid.flatMap((gap) => {
    const event = said.has(gap.from) || !inTime(gap.last, query) ? undefined : lossIn(gap, query);
    return event ? [{ kind: "lost" as const, time: gap.last, event }] : [];
  });
}

function inTime(time: bigint, { since, until }: HistoryQuery): boolean {
  return time >= since && (until === undefined || time <= until);
}
