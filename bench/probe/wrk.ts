import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";

/** `/proc/PID/stat` counts in these. */
const TICK_US = 10_000;

/** Load of `wrk`: GETs over one thread. */
export interface Load {
  readonly core: string;
  /** Put before the command, to run it in another namespace. */
  readonly prefix?: readonly string[];
  readonly connections: number;
  readonly seconds: number;
  readonly url: string;
  /** A file in Lua that makes the requests. */
  readonly script?: string | undefined;
  /** A connection for each request. */
  readonly close?: boolean;
}

/** Times are microseconds. */
export interface LoadResult {
  readonly rate: number;
  readonly count: number;
  readonly p99: number;
  /** Processor time of wrk itself, user and system. */
  readonly cpu: number;
}

/** Throws when it did not run, or got other answers than 2xx and 3xx. */
export async function runWrk({ core, prefix = [], connections, seconds, url, script, close = false }: Load): Promise<LoadResult> {
  const command = [...prefix, "taskset", "-c", core, "sh", "-c", 'wrk "$@"; times', "sh", ...(close ? ["-H", "Connection: close"] : [])];
  const options = ["--latency", "-t1", `-c${connections}`, `-d${seconds}s`, ...(script === undefined ? [] : ["-s", script])];
  const [program = "", ...args] = [...command, ...options, url];
  const { stdout } = await promisify(execFile)(program, args);
  const [rate, count] = [/Requests\/sec:\s+([0-9.]+)/, /([0-9]+) requests in/].map((pattern) => Number(pattern.exec(stdout)?.[1]));
  const [, p99, unit = ""] = /99%\s+([0-9.]+)(us|ms|s)/.exec(stdout) ?? [];
  if (rate === undefined || count === undefined || !(rate > 0) || /Non-2xx/.test(stdout)) throw new Error(`wrk: ${stdout}`);
  const scale = { us: 1, ms: 1e3, s: 1e6 }[unit] ?? Number.NaN;
  return { rate, count, p99: Number(p99) * scale, cpu: childTimes(stdout) };
}

/** The last line of the shell's `times`: user and system time of its children, "0m1.230s 0m2.340s". */
function childTimes(output: string): number {
  const times = [...(output.trim().split("\n").at(-1) ?? "").matchAll(/(\d+)m([0-9.]+)s/g)];
  return times.reduce((sum, [, minutes, seconds]) => sum + (Number(minutes) * 60 + Number(seconds)) * 1e6, 0);
}

/** User and system time of a process so far, all threads, in microseconds. */
export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}
