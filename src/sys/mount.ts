import { readFileSync } from "node:fs";
import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

/** Flags of mount(2), to be combined with `|`. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const;

const MNT_DETACH = 2;

export interface MountRequest {
  readonly source?: string;
  readonly target: string;
  readonly type?: string;
  readonly flags?: number;
  readonly data?: string;
}

/** mount(2). Throws `KernelError`. */
export function mount({ source = "none", target, type = "", flags = 0, data = "" }: MountRequest): void {
  check("mount", kernel().mount(source, target, type, flags, data), target);
}

/** Unmounts lazily: gone from the tree at once, freed when its last user ends. Throws `KernelError`. */
export function unmount(target: string): void {
  check("umount", kernel().umount(target, MNT_DETACH), target);
}

export interface MountPoint {
  readonly path: string;
  readonly type: string;
  /** The directory of the file system that is mounted; "/" unless it is a bind mount or a cgroup namespace. */
  readonly root: string;
}

/** The mounts this process sees, in order (proc(5), mountinfo). */
export function mounts(): MountPoint[] {
  return readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n").map(parseMountinfo);
}

function parseMountinfo(line: string): MountPoint {
  const [head = "", tail = ""] = line.split(" - ");
  const fields = head.split(" ");
  return { root: unescapePath(fields[3] ?? ""), path: unescapePath(fields[4] ?? ""), type: tail.split(" ")[0] ?? "" };
}

function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The type of the file system mounted exactly at `path`; the last mount counts. */
export function mountedAt(path: string): string | undefined {
  return mounts().findLast((point) => point.path === path)?.type;
}

/** Where cgroup v2 is mounted (`/sys/fs/cgroup`, or `…/unified` on hybrid machines); undefined when nowhere. */
export function findCgroup2(): string | undefined {
  return mounts().find((point) => point.type === "cgroup2")?.path;
}
