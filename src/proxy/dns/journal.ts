import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { setImmediate as turn } from "node:timers/promises";

/** A name as an endpoint learned it: addresses with the second (monotonic clock) at which they end; without addresses it is forgotten. */
export interface JournalLine {
  readonly endpoint: number;
  /** `DnsEndpoint.key` */
  readonly key: string;
  readonly name: string;
  readonly ttl: number;
  readonly lookedUp: number;
  readonly ips: readonly (readonly [string, number])[];
}

/** Learned names on disk, so that they outlive the proxy. */
export interface Journal extends Disposable {
  /** Written together with others at the end of the event loop's turn, unless the process is killed in it. */
  append(line: JournalLine): void;
}

export interface JournalDeps {
  /** All there is to say now: the file is written anew when it has grown to a multiple of that. */
  readonly lines: () => Iterable<JournalLine>;
  readonly report: (problem: string) => void;
}

/** Times are of a clock that begins with the machine. */
function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/**
 * The lines of before; none when there is no file, or it is of another boot. A line that cannot be read (the last one, after a crash) is left out. Read a piece at a time,
 * so that others have their turns.
 */
export async function readJournal(path: string): Promise<JournalLine[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return [];
  }
  const [head, ...lines] = text.split("\n");
  if (head !== headOf()) return [];
  const read: JournalLine[] = [];
  for (const [i, line] of lines.entries()) {
    if (i % LINES_A_TURN === 0) await turn();
    try {
      const parsed = JSON.parse(line) as JournalLine;
      if (typeof parsed.endpoint === "number" && typeof parsed.name === "string" && Array.isArray(parsed.ips)) read.push(parsed);
    } catch {
      // Cut off.
    }
  }
  return read;
}

function headOf(): string {
  return JSON.stringify({ version: 1, boot: bootId() });
}

/** Lines before it is worth to write the file anew. */
const COMPACT_AT = 8192;
const LINES_A_TURN = 100;

/** Opens the journal and writes it anew with what `lines` gives. Throws the file system's error. */
export function openJournal(path: string, deps: JournalDeps): Journal {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let fd: number | undefined;
  let next: number | undefined;
  let waiting: string[] = [];
  let written = 0;
  let limit = COMPACT_AT;
  const write = (text: string) => {
    for (const one of [fd, next]) if (one !== undefined) writeSync(one, text);
  };
  const flush = () => {
    const text = waiting.join("");
    written += waiting.length;
    waiting = [];
    try {
      write(text);
      if (written >= limit && next === undefined) startCompaction();
    } catch (thrown) {
      deps.report((thrown as Error).message);
    }
  };
  const startCompaction = () => {
    next = openSync(`${path}.new`, "w", 0o600);
    writeSync(next, `${headOf()}\n`);
    copy(deps.lines()[Symbol.iterator](), 0);
  };
  /** What is learned meanwhile goes to both files. */
  const copy = (rest: Iterator<JournalLine>, before: number) => {
    const turn: string[] = [];
    let done = false;
    while (turn.length < LINES_A_TURN && !done) {
      const item = rest.next();
      done = item.done === true;
      if (!item.done) turn.push(`${JSON.stringify(item.value)}\n`);
    }
    if (next === undefined) return;
    writeSync(next, turn.join(""));
    if (done) finishCompaction(before + turn.length);
    else setImmediate(copySafely, rest, before + turn.length);
  };
  const copySafely = (rest: Iterator<JournalLine>, before: number) => {
    try {
      copy(rest, before);
    } catch (thrown) {
      deps.report((thrown as Error).message);
      next = undefined;
    }
  };
  const finishCompaction = (count: number) => {
    renameSync(`${path}.new`, path);
    if (fd !== undefined) closeSync(fd);
    [fd, next, written, limit] = [next, undefined, count, Math.max(COMPACT_AT, 4 * count)];
  };
  startCompaction();
  return {
    append(line) {
      if (waiting.length === 0) setImmediate(flush);
      waiting.push(`${JSON.stringify(line)}\n`);
    },
    [Symbol.dispose]() {
      flush();
      for (const one of [fd, next]) if (one !== undefined) closeSync(one);
      [fd, next] = [undefined, undefined];
    },
  };
}
