import { appendFileSync, closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { Readable } from "node:stream";

export type OutputStream = "stdout" | "stderr";

/** Which part of a log is wanted, as `kubectl logs` asks. */
export interface LogQuery {
  readonly follow?: boolean;
  readonly timestamps?: boolean;
  readonly tailLines?: number;
  readonly sinceSeconds?: number;
  readonly sinceTime?: string;
  readonly limitBytes?: number;
}

/** The log of one run of a container: a file in the container runtimes' format, `TIME STREAM F|P TEXT`. */
export interface ContainerLog {
  readonly path: string;
  append(stream: OutputStream, chunk: Buffer): void;
  /** Nothing more will come: followers end. */
  end(): void;
  read(query: LogQuery): Readable;
}

/** Starts a log file, with its directories. */
export function openContainerLog(path: string): ContainerLog {
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, "a"));
  const followers = new Set<(lines: string[]) => void>();
  const rest: Record<OutputStream, string> = { stdout: "", stderr: "" };
  let ended = false;
  const write = (lines: string[]) => {
    if (lines.length === 0) return;
    appendFileSync(path, `${lines.join("\n")}\n`);
    for (const follower of followers) follower(lines);
  };
  return {
    path,
    append(stream, chunk) {
      const time = nanoTimestamp();
      const parts = (rest[stream] + chunk.toString()).split("\n");
      rest[stream] = parts.pop() ?? "";
      write(parts.map((text) => `${time} ${stream} F ${text}`));
    },
    end() {
      ended = true;
      const time = nanoTimestamp();
      write((["stdout", "stderr"] as const).flatMap((stream) => (rest[stream] === "" ? [] : [`${time} ${stream} P ${rest[stream]}`])));
      for (const follower of followers) follower([]);
      followers.clear();
    },
    read: (query) => readLog(path, query, ended ? undefined : followers, () => ended),
  };
}

// Milliseconds are all there is; the digits keep lines of one millisecond sortable as text.
function nanoTimestamp(): string {
  return new Date().toISOString().replace("Z", "000000Z");
}

function readLog(path: string, query: LogQuery, followers: Set<(lines: string[]) => void> | undefined, ended: () => boolean): Readable {
  const since = query.sinceTime ? Date.parse(query.sinceTime) : query.sinceSeconds ? Date.now() - query.sinceSeconds * 1000 : 0;
  const recorded = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  const recent = since ? recorded.filter((line) => Date.parse(line.slice(0, line.indexOf(" "))) >= since) : recorded;
  const wanted =
    query.tailLines === undefined || query.tailLines < 0 ? recent : recent.slice(recent.length - Math.min(query.tailLines, recent.length));
  const text = wanted.map((line) => formatLine(line, query.timestamps)).join("");
  if (!query.follow || !followers) return Readable.from([Buffer.from(text).subarray(0, query.limitBytes)], { objectMode: false });
  const output = new Readable({ read: () => undefined });
  output.push(text);
  const follower = (lines: string[]) => {
    for (const line of lines) output.push(formatLine(line, query.timestamps));
    if (ended()) output.push(null);
  };
  followers.add(follower);
  output.on("close", () => followers.delete(follower));
  return output;
}

function formatLine(line: string, timestamps = false): string {
  const [time = "", , tag] = line.split(" ", 3);
  const text = line.split(" ").slice(3).join(" ");
  return `${timestamps ? `${time} ` : ""}${text}${tag === "P" ? "" : "\n"}`;
}
