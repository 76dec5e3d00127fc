import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findCgroup2 } from "#sys/mount.ts";
import { LabError } from "../errors.ts";

/** Where cgroup v2 is mounted on this machine; hybrid set-ups have it beside the v1 controllers. */
export function cgroupRoot(): string {
  const root = findCgroup2();
  if (root === undefined) throw new LabError("preflight", "cgroup v2 is not mounted; run: mount -t cgroup2 none /sys/fs/cgroup");
  return root;
}

/** Makes the cgroup with its parents. */
export function makeCgroup(directory: string): void {
  mkdirSync(directory, { recursive: true });
}

/** The processes in a cgroup and in those below it. Empty when there is no such cgroup. */
export function processesOf(directory: string): number[] {
  const own = readOrEmpty(join(directory, "cgroup.procs")).split("\n").filter(Boolean).map(Number);
  return [...own, ...childrenOf(directory).flatMap((child) => processesOf(join(directory, child)))];
}

/** Kills every process in a cgroup and below it. Does nothing when there is no such cgroup. */
export function killCgroup(directory: string): void {
  try {
    writeFileSync(join(directory, "cgroup.kill"), "1");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
  }
}

/** Kills what is in a cgroup, waits for its end, and removes the cgroup with those below it. */
export async function removeCgroup(directory: string): Promise<void> {
  killCgroup(directory);
  for (let wait = 1; !removeTree(directory); wait = Math.min(wait * 2, 50)) {
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

// rmdir answers EBUSY until the last process is reaped: false then.
function removeTree(directory: string): boolean {
  const emptied = childrenOf(directory).every((child) => removeTree(join(directory, child)));
  if (!emptied) return false;
  try {
    rmdirSync(directory);
    return true;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === "ENOENT") return true;
    if (code === "EBUSY" || code === "ENOTEMPTY") return false;
    throw thrown;
  }
}

function childrenOf(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
