import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { check, KernelError } from "./kernel-error.ts";
import { MS, mount, mountedAt } from "./mount.ts";
import { kernel } from "./native.ts";

const CLONE_NEWNET = 0x40000000;
const OWN = "/proc/thread-self/ns/net";
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/** An open network namespace; it lives at least as long as `fd` is open. */
export class Netns implements Disposable {
  readonly fd: number;
  readonly path: string;

  constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  close(): void {
    closeSync(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Opens the namespace a file stands for: `/run/netns/<name>`, `/proc/<pid>/ns/net`. Throws when there is none (Node's ENOENT). */
export function openNetns(path: string): Netns {
  return new Netns(openSync(path, "r"), path);
}

/** The namespace of the calling thread. */
export function currentNetns(): Netns {
  return openNetns(OWN);
}

/**
 * Runs `work` with the calling thread in `netns`; it must be synchronous. Sockets it opens and children it spawns stay there.
 * A thread that cannot come back would do the rest of the program's work in the wrong namespace: that ends the process.
 */
export function inNetns<T>(netns: Netns, work: () => T): T {
  using home = currentNetns();
  check("setns", kernel().setns(netns.fd, CLONE_NEWNET), netns.path);
  try {
    return work();
  } finally {
    goHome(home);
  }
}

function goHome(home: Netns): void {
  if (kernel().setns(home.fd, CLONE_NEWNET) === 0) return;
  process.stderr.write("cannot return to the own network namespace\n");
  process.abort();
}

/** The number the kernel gives a namespace once: `bpf_get_netns_cookie`. The own namespace when none is given. */
export function netnsCookie(netns?: Netns): bigint {
  const fd = check("socket", kernel().socket(1, 2, 0, netns?.fd));
  const cookie = Buffer.alloc(8);
  const result = kernel().getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie);
  kernel().close(fd);
  check("getsockopt SO_NETNS_COOKIE", result);
  return cookie.readBigUInt64LE();
}

/**
 * Makes a namespace and binds it to `path`, as `ip netns add` does; its directory is made too. Throws `KernelError` EEXIST when the path is taken.
 * Nothing is up in it, not even `lo`.
 */
export function createNetnsAt(path: string): void {
  shareDirectory(dirname(path));
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o444 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") throw new KernelError("create netns", 17, path);
    throw cause;
  }
  using home = currentNetns();
  check("unshare", kernel().unshare(CLONE_NEWNET));
  try {
    mount({ source: OWN, target: path, flags: MS.BIND });
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    goHome(home);
  }
}

/** Mounts made in the directory must reach other mount namespaces, and their removal too: iproute2 does the same. */
function shareDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  if (mountedAt(directory) !== undefined) return;
  mount({ source: directory, target: directory, flags: MS.BIND | MS.REC });
  mount({ target: directory, flags: MS.SHARED | MS.REC });
}

/** Removes the file and with it the namespace, once its last process and descriptor are gone. `false`: there was none. */
export function deleteNetnsAt(path: string): boolean {
  const result = kernel().umount(path, 2);
  if (result === -2) return false;
  // EINVAL: a file left by a crash between creating and mounting.
  if (result !== -22) check("umount", result, path);
  rmSync(path, { force: true });
  return true;
}
