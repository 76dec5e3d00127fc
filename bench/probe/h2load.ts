import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Load, LoadResult } from "./wrk.ts";

/** Streams at once on each connection. */
const STREAMS = 10;

/** Load of `h2load`: GETs in HTTP/2 with prior knowledge. Throws when it did not run, or got other answers than 2xx. */
export async function runH2load({
  core,
  connections,
  seconds,
  url,
}: Omit<Load, "prefix" | "script">): Promise<Pick<LoadResult, "rate" | "count">> {
  const options = ["-t1", `-c${connections}`, `-m${STREAMS}`, "-D", String(seconds), url];
  const { stdout } = await promisify(execFile)("taskset", ["-c", core, "h2load", ...options]);
  const rate = Number(/finished in .*, ([0-9.]+) req\/s/.exec(stdout)?.[1]);
  const [, count, ...others] = /status codes: ([0-9]+) 2xx, ([0-9]+) 3xx, ([0-9]+) 4xx, ([0-9]+) 5xx/.exec(stdout) ?? [];
  if (!(rate > 0) || others.some((other) => other !== "0")) throw new Error(`h2load: ${stdout}`);
  return { rate, count: Number(count) };
}
