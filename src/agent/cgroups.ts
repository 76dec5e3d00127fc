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
      known = new Map(podCgroups(root).map(({ id, podUid }) => [id, podUid]));
      scanAgainAt = now() + SCAN_AGAIN_MS;
      return known.get(cgroupId);
    },
  };
}

/** A cgroup of a pod: the pod's own, or one of its containers'. */
export interface PodCgroup {
  readonly podUid: string;
  readonly id: bigint;
  readonly path: string;
}

/** The cgroups of all pods below `root`, as they are now. */
export function podCgroups(root: string): PodCgroup[] {
  return directoriesBelow(root).flatMap((path) => {
    const podUid = path.match(POD_UID)?.at(-1)?.replaceAll("_", "-");
    const id = podUid === undefined ? undefined : statSync(join(root, path), { bigint: true, throwIfNoEntry: false })?.ino;
    return podUid === undefined || id === undefined ? [] : [{ podUid, id, path: join(root, path) }];
  });
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
