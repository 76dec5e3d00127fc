import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseSegmentName, type SegmentName } from "./segment.ts";

/** How much is kept; whichever is reached first. */
export interface Retention {
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

export interface Segment extends SegmentName {
  readonly path: string;
  readonly bytes: number;
  /** When it was last written to, milliseconds since 1970. */
  readonly writtenMs: number;
}

/** The segments of a directory, oldest first; none when it is gone. A file that vanishes meanwhile is left out. */
export async function listSegments(directory: string): Promise<Segment[]> {
  const files = await readdir(directory).catch((thrown: unknown) => {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return [];
    throw thrown;
  });
  const segments = await Promise.all(
    files.sort().map(async (file) => {
      const name = parseSegmentName(file);
      if (name === undefined) return [];
      const path = join(directory, file);
      const found = await stat(path).catch(() => undefined);
      return found ? [{ ...name, path, bytes: found.size, writtenMs: found.mtimeMs }] : [];
    }),
  );
  return segments.flat();
}

/** Which of these segments, oldest first, must go so that the rest is within the limits. The newest stays in any case. */
export function expired<S extends Pick<Segment, "bytes" | "writtenMs">>(
  segments: readonly S[],
  { maxBytes, maxAgeMs }: Retention,
  nowMs: number,
): S[] {
  let total = segments.reduce((sum, { bytes }) => sum + bytes, 0);
  return segments.slice(0, -1).filter(({ bytes, writtenMs }) => {
    if (total <= maxBytes && nowMs - writtenMs <= maxAgeMs) return false;
    total -= bytes;
    return true;
  });
}

/** Removes what is too old or too much. */
export async function applyRetention(directory: string, retention: Retention): Promise<void> {
  const gone = expired(await listSegments(directory), retention, Date.now());
  await Promise.all(gone.map(({ path }) => rm(path, { force: true })));
}
