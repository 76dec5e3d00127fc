import { existsSync, linkSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isKernelError } from "#sys/kernel-error.ts";
import { mounts, unmount } from "#sys/mount.ts";
import { netnsPath } from "./network/fabric.ts";
import { PREFIX, paths, RUNTIME_DIRECTORY } from "./paths.ts";
import { cgroupRoot, removeCgroup } from "./process/cgroup.ts";

/** Who holds the lab of this machine, and what it has made. Written before anything is made. */
export interface LabRecord {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: together with the pid it names one process for ever. */
  readonly startTime: string;
  /** Network namespaces by name. */
  readonly netns: readonly string[];
}

/** When a process was started, in clock ticks since boot; undefined when there is none or it has ended. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19]; // a zombie only waits for its parent
  } catch {
    return undefined;
  }
}

/** The record of the machine's lab, dead or alive. One that makes no sense is a dead lab's: a crash cut it short. */
export function readRecord(lock: string = paths.lock): LabRecord | undefined {
  let text: string;
  try {
    text = readFileSync(lock, "utf8");
  } catch {
    return undefined;
  }
  return parseRecord(text) ?? { pid: 0, startTime: "", netns: labNetns() };
}

function parseRecord(text: string): LabRecord | undefined {
  try {
    const { pid, startTime, netns } = (JSON.parse(text) ?? {}) as Partial<LabRecord>;
    if (!Number.isInteger(pid) || typeof startTime !== "string" || !Array.isArray(netns)) return undefined;
    return { pid: pid as number, startTime, netns };
  } catch {
    return undefined;
  }
}

// Namespaces with the names that labs give, and no others: tests have some that start alike.
function labNetns(): string[] {
  const directory = dirname(netnsPath(PREFIX));
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => /^cilia-(fabric|world|control-plane|worker\d*)$/.test(name));
}

/** Whether the process of this record still runs. */
export function isAlive(record: LabRecord): boolean {
  return startTimeOf(record.pid) === record.startTime;
}

/** Takes the lab of this machine for this process. False when a living process has it. */
export function takeLock(netns: readonly string[], lock: string = paths.lock): boolean {
  const record: LabRecord = { pid: process.pid, startTime: startTimeOf(process.pid) ?? "", netns };
  const draft = `${lock}.${process.pid}`; // linked when it is whole: nobody reads half a record
  try {
    writeFileSync(draft, JSON.stringify(record));
    linkSync(draft, lock);
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw thrown;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** The lab's own directory of cgroup v2. */
export function labCgroup(): string {
  return join(cgroupRoot(), PREFIX);
}

/** Removes what a lab that is no more has left: its processes, namespaces, mounts and its lock. Nothing else. */
export async function removeLeftovers(record: LabRecord): Promise<void> {
  await removeCgroup(labCgroup());
  for (const name of record.netns) removeNetns(netnsPath(name));
  const below = mounts()
    .map(({ path }) => path)
    .filter((target) => target === RUNTIME_DIRECTORY || target.startsWith(`${RUNTIME_DIRECTORY}/`));
  for (const target of below.toReversed()) unmount(target);
  rmSync(RUNTIME_DIRECTORY, { recursive: true, force: true });
  rmSync(paths.lock, { force: true });
}

function removeNetns(path: string): void {
  if (!existsSync(path)) return;
  try {
    unmount(path);
  } catch (thrown) {
    // EINVAL: nothing is mounted, as after a reboot that kept /run.
    if (!isKernelError(thrown, "EINVAL")) throw thrown;
  }
  unlinkSync(path);
}
