import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { type Gap, Gaps } from "./gaps.ts";
import { applyRetention, type Retention } from "./retention.ts";
import { encodeGap, encodeRecord, type HistoryEntry, segmentFileName } from "./segment.ts";

export interface HistoryWriterConfig extends Retention {
  readonly directory: string;
  /** Entries that may wait for the disk. */
  readonly maxWaiting?: number;
}

/** Writes entries behind the observer's back: taking one never waits. */
export interface HistoryWriter extends AsyncDisposable {
  /** Names the run that writes now; sequences are its own. */
  readonly run: string;
  /** Takes an entry. `important` ones (drops, L7) still have room when the others are refused. */
  take(sequence: number, entry: HistoryEntry, important: boolean): void;
  /** Resolves when what was taken is on disk or counted as lost. */
  flush(): Promise<void>;
  /** Entries on disk since the start, and those that were not kept: the disk was full or too slow. */
  counts(): { readonly written: number; readonly lost: number };
  /** What is missing and not yet said on disk. */
  gaps(): readonly Gap[];
}

interface Waiting {
  readonly sequence: number;
  readonly entry: HistoryEntry;
}

const FLUSH_AFTER_MS = 200;
/** Entries encoded in one go, between which the process does other things. */
const BATCH = 256;
/** A segment is a sixteenth of the history, so that the oldest can go in small steps. */
const SEGMENTS = 16;
/** What ordinary entries may use of the waiting room; the rest is for the important ones. */
const ORDINARY_SHARE = 0.75;
const COMPLAIN_EVERY_MS = 60_000;

/** Starts a run of the history in the directory, which is made when missing. Rejects when that cannot be. */
export async function startHistoryWriter(log: Logger, config: HistoryWriterConfig): Promise<HistoryWriter> {
  await mkdir(config.directory, { recursive: true, mode: 0o700 });
  await applyRetention(config.directory, config);
  return new SegmentWriter(log, config);
}

class SegmentWriter implements HistoryWriter {
  readonly run = randomBytes(4).toString("hex");
  readonly #log: Logger;
  readonly #config: HistoryWriterConfig;
  readonly #gaps = new Gaps();
  readonly #maxWaiting: number;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #file: FileHandle | undefined;
  #path = "";
  /** Bytes of the whole batches in it. */
  #fileBytes = 0;
  #written = 0;
  #lost = 0;
  #quietUntil = 0;

  constructor(log: Logger, config: HistoryWriterConfig) {
    this.#log = log;
    this.#config = config;
    this.#maxWaiting = config.maxWaiting ?? 65_536;
  }

  take(sequence: number, entry: HistoryEntry, important: boolean): void {
    const room = important ? this.#maxWaiting : this.#maxWaiting * ORDINARY_SHARE;
    if (this.#waiting.length >= room) {
      this.#lose([{ sequence, entry }]);
      return;
    }
    this.#waiting.push({ sequence, entry });
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_AFTER_MS).unref();
  }

  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#writeWaiting());
    return this.#writing;
  }

  counts(): { written: number; lost: number } {
    return { written: this.#written, lost: this.#lost };
  }

  gaps(): readonly Gap[] {
    return this.#gaps.list();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
    // What is missing at the end is worth a last attempt; a disk that does not take it has been complained about.
    await this.#writeBatch([]).catch(() => undefined);
    await this.#closeSegment();
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH);
      this.#waiting = this.#waiting.slice(BATCH);
      try {
        await this.#writeBatch(batch);
        this.#written += batch.length;
      } catch (thrown) {
        this.#lose(batch);
        this.#complain(thrown);
        await this.#giveUpSegment();
      }
    }
  }

  #lose(entries: readonly Waiting[]): void {
    this.#lost += entries.length;
    for (const { sequence, entry } of entries) {
      // A report that is lost is no flow that is missing: the observer's status has it.
      if (entry.kind === "flow") this.#gaps.add({ from: sequence, to: sequence + 1, first: entry.time, last: entry.time });
    }
  }

  /** Writes entries, after what is missing before them. */
  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    const missing = this.#gaps.take(batch[0]?.sequence ?? Number.POSITIVE_INFINITY);
    const bytes = Buffer.concat([...missing.map(encodeGap), ...batch.map(({ sequence, entry }) => encodeRecord(sequence, entry))]);
    if (bytes.length === 0) return;
    try {
      this.#file ??= await this.#openSegment(missing[0]?.first ?? batch[0]?.entry.time ?? 0n);
      await this.#file.appendFile(bytes);
      this.#gaps.settle(true);
    } catch (thrown) {
      this.#gaps.settle(false);
      throw thrown;
    }
    this.#fileBytes += bytes.length;
    if (this.#fileBytes < this.#config.maxBytes / SEGMENTS) return;
    await this.#closeSegment();
    await applyRetention(this.#config.directory, this.#config);
  }

  async #openSegment(firstTime: bigint): Promise<FileHandle> {
    this.#fileBytes = 0;
    this.#path = join(this.#config.directory, segmentFileName({ firstTime, run: this.run }));
    return open(this.#path, "a", 0o600);
  }

  // A write that failed may have left a part of its batch, all of which counts as lost: it is cut off. A segment without a whole batch
  // is removed, or a disk that stays full would get a file for each attempt.
  async #giveUpSegment(): Promise<void> {
    const opened = this.#file !== undefined;
    await this.#file?.truncate(this.#fileBytes).catch(() => undefined);
    await this.#closeSegment();
    if (opened && this.#fileBytes === 0) await rm(this.#path, { force: true }).catch(() => undefined);
  }

  async #closeSegment(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  #complain(thrown: unknown): void {
    if (performance.now() < this.#quietUntil) return;
    this.#quietUntil = performance.now() + COMPLAIN_EVERY_MS;
    this.#log.warn("flow history cannot be written, flows are only in memory", {
      directory: this.#config.directory,
      lost: this.#lost,
      error: errorMessage(thrown),
    });
  }
}
