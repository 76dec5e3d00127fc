import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Which pod a process's cgroup belongs to. */
export interface CgroupIndex {
  /** The uid of the pod; undefined for cgroups of no pod and for those that are gone. */
  podUid(cgroupId: bigint): string | undefined;
}

const POD_UID = /[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}/g;
const SCAN_AGAIN_MS = 1000;

/**
 * Reads pods off the names of the cgroups below `root`: container runtimes write the pod's uid into the path, with dashes or
 * underscores. An id is a directory's inode number. The tree is read again when an id is unknown, once a second at most.
 */
export function createCgroupIndex(root: string, now: () => number = () => performance.now()): CgroupIndex {
  let known = new Map<bigint, string>();
  let scanAgainAt = Number.NEGATIVE_INFINITY;
  return {
    podUid(cgroupId) {
      const found = known.get(cgroupId);
      if (found !== undefined || now() < scanAgainAt) return found;
      known = scan(root);
      scanAgainAt = now() + SCAN_AGAIN_MS;
      return known.get(cgroupId);
    },
  };
}

function scan(root: string): Map<bigint, string> {
  const found = new Map<bigint, string>();
  for (const path of directoriesBelow(root)) {
    const uid = path.match(POD_UID)?.at(-1)?.replaceAll("_", "-");
    const inode = uid === undefined ? undefined : statSync(join(root, path), { bigint: true, throwIfNoEntry: false })?.ino;
    if (uid !== undefined && inode !== undefined) found.set(inode, uid);
  }
  return found;
}

/** Paths relative to `root`; what goes away meanwhile is left out. */
function directoriesBelow(root: string): string[] {
  try {
    const entries = readdirSync(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  } catch {
    // A cgroup vanished while it was read: the next scan sees the rest.
    return [];
  }
}
