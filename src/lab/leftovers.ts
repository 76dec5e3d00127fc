import { existsSync, readdirSync, rmSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { isKernelError } from "#sys/kernel-error.ts";
import { mounts, unmount } from "#sys/mount.ts";
import { netnsPath } from "./network/fabric.ts";
import { PREFIX, paths, RUNTIME_DIRECTORY } from "./paths.ts";
import { cgroupRoot, removeCgroup } from "./process/cgroup.ts";

/** The lab's own directory of cgroup v2. */
export function labCgroup(): string {
  return join(cgroupRoot(), PREFIX);
}

/** Whether something of a lab is there that no record tells of: somebody removed the lock by hand. */
export function hasLeftovers(): boolean {
  return existsSync(labCgroup()) || existsSync(paths.rootfs);
}

// Namespaces with the names that labs give, and no others: tests have some that start alike.
function labNetns(): string[] {
  const directory = dirname(netnsPath(PREFIX));
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => /^cilia-(fabric|world|control-plane|worker\d*)$/.test(name));
}

/** Removes what a lab that is no more has left: its processes, namespaces (those named, and those with a lab's names) and mounts. Nothing else. */
export async function removeLeftovers(netns: readonly string[]): Promise<void> {
  await removeCgroup(labCgroup());
  for (const name of new Set([...netns, ...labNetns()])) removeNetns(netnsPath(name));
  const below = mounts()
    .map(({ path }) => path)
    .filter((target) => target === RUNTIME_DIRECTORY || target.startsWith(`${RUNTIME_DIRECTORY}/`));
  for (const target of below.toReversed()) unmount(target);
  rmSync(RUNTIME_DIRECTORY, { recursive: true, force: true });
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
