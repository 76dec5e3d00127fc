import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { isImportant } from "../important.ts";
import type { Observer } from "../observer/observer.ts";
import { nanosecondsOf } from "../parser/messages.ts";
import { type HistoryQuery, readHistory, readNewest } from "./reader.ts";
import { listSegments } from "./retention.ts";
import type { HistoryEntry } from "./segment.ts";
import { type HistoryWriterConfig, startHistoryWriter } from "./writer.ts";

/** Which part is wanted, by time and by place in the ring of this run. */
export type HistoryRange = Omit<HistoryQuery, "run" | "unsaid">;

export interface HistoryStatus {
  /** Bytes on disk, those of earlier runs included. */
  readonly bytes: number;
  /** Time of the oldest flow kept, nanoseconds since 1970; undefined when there is none. */
  readonly oldest: bigint | undefined;
  /** Entries of this run on disk, and those the disk did not take. */
  readonly written: number;
  readonly lost: number;
}

/** The flows of a node on disk: what the ring has forgotten, over restarts, within limits of size and age. */
export interface History extends AsyncDisposable {
  /** Matching entries, oldest first; everything observed before the call is found, or reported as lost where the disk did not take it. */
  read(range: HistoryRange): AsyncGenerator<HistoryEntry, void>;
  /** The newest `limit` of them, oldest first. */
  newest(range: HistoryRange, limit: number): Promise<HistoryEntry[]>;
  status(): Promise<HistoryStatus>;
  /** Entries that the disk did not take since the start: it was full or too slow. */
  lost(): number;
}

/** Keeps what this observer sees. Rejects when the directory cannot be made; later failures are logged and counted. */
export async function startHistory(observer: Observer, log: Logger, config: HistoryWriterConfig): Promise<History> {
  const scope = new AsyncDisposableStack();
  const writer = scope.use(await startHistoryWriter(log, config));
  // A sink is called right after its entry was written to the ring.
  const sequence = () => observer.ring.written - 1;
  scope.use(observer.onFlow((flow) => writer.take(sequence(), { kind: "flow", time: nanosecondsOf(flow.time), flow }, isImportant(flow))));
  scope.use(
    observer.onLost((event) => writer.take(sequence(), { kind: "lost", time: observer.ring.at(sequence())?.time ?? 0n, event }, true)),
  );
  const { directory } = config;
  return {
    async *read(range) {
      await writer.flush();
      yield* readHistory(directory, { ...range, run: writer.run, unsaid: writer.gaps() });
    },
    async newest(range, limit) {
      await writer.flush();
      return readNewest(directory, { ...range, run: writer.run, unsaid: writer.gaps() }, limit);
    },
    async status() {
      const segments = await listSegments(directory).catch((thrown: unknown) => {
        log.warn("flow history cannot be listed", { directory, error: errorMessage(thrown) });
        return [];
      });
      const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
      return { bytes, oldest: segments[0]?.firstTime, ...writer.counts() };
    },
    lost: () => writer.counts().lost,
    [Symbol.asyncDispose]: () => scope.disposeAsync(),
  };
}
