import { ftruncateSync, mkdirSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { type FileLock, lockFile } from "#sys/file-lock.ts";
import { LabError } from "./errors.ts";
import { PROJECT, paths } from "./paths.ts";

/** Who holds the lab of this machine, and what it has made. Written before anything is made. */
export interface LabRecord {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: together with the boot and the pid it names one process for ever. */
  readonly startTime: string;
  /** /proc/sys/kernel/random/boot_id */
  readonly boot: string;
  /** The checkout that it runs from. */
  readonly home: string;
  /** Network namespaces by name. */
  readonly netns: readonly string[];
}

/** When a process was started, in clock ticks since boot; undefined when there is none or it has ended. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19]; // a zombie only waits for its parent
  } catch {
    return undefined;
  }
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** Whether the process of this record still runs. */
export function isAlive(record: LabRecord): boolean {
  return record.boot === bootId() && startTimeOf(record.pid) === record.startTime;
}

/** The record of the machine's lab, dead or alive; undefined after an orderly end. One that makes no sense is a dead lab's: a crash cut it short. */
export function readRecord(path: string = paths.lock): LabRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  return text === "" ? undefined : (parseRecord(text) ?? { pid: 0, startTime: "", boot: "", home: "", netns: [] });
}

function parseRecord(text: string): LabRecord | undefined {
  try {
    const { pid, startTime, boot = "", home = "", netns } = (JSON.parse(text) ?? {}) as Partial<LabRecord>;
    if (!Number.isInteger(pid) || typeof startTime !== "string" || !Array.isArray(netns)) return undefined;
    return { pid: pid as number, startTime, boot, home, netns };
  } catch {
    return undefined;
  }
}

/** The lab that runs on this machine. */
export function runningLab(): LabRecord | undefined {
  const record = readRecord();
  return record && isAlive(record) ? record : undefined;
}

/** The error of a machine that has a lab already: it names the process and, when it is not ours, the checkout, and how to end it. */
export function alreadyRunning(record: LabRecord | undefined = runningLab()): LabError {
  if (!record) return new LabError("running", "another lab is being started or ended; try again in a moment");
  const foreign = record.home !== PROJECT;
  const whose = foreign ? `, of the checkout ${record.home}` : "";
  const command = foreign ? `${record.home}/bin/cilium lab down` : "cilium lab down";
  return new LabError("running", `a lab runs already (process ${record.pid}${whose}); end it with: ${command}`);
}

/** The machine's one lab, held by this process: the kernel sees to it that there is one holder, and lets go when the process ends. */
export class LabLock implements Disposable {
  readonly #file: FileLock;
  /** What a lab left that did not end in order. */
  readonly previous: LabRecord | undefined;

  constructor(file: FileLock, previous: LabRecord | undefined) {
    this.#file = file;
    this.previous = previous;
  }

  /** Writes that this process is about to make these namespaces; those of a dead lab stay written until `clear`. */
  write(netns: readonly string[]): LabRecord {
    const record: LabRecord = {
      pid: process.pid,
      startTime: startTimeOf(process.pid) ?? "",
      boot: bootId(),
      home: PROJECT,
      netns: [...new Set([...(this.previous?.netns ?? []), ...netns])],
    };
    const text = Buffer.from(JSON.stringify(record));
    writeSync(this.#file.fd, text, 0, text.length, 0);
    ftruncateSync(this.#file.fd, text.length);
    return record;
  }

  /** Writes that nothing is left. */
  clear(): void {
    ftruncateSync(this.#file.fd, 0);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** Takes the lab of this machine for this process; undefined when another has it. */
export function takeLock(path: string = paths.lock): LabLock | undefined {
  mkdirSync(dirname(path), { recursive: true });
  const file = lockFile(path);
  return file && new LabLock(file, readRecord(path));
}
