import { closeSync, constants, openSync } from "node:fs";
import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const EWOULDBLOCK = -11;

/** A file that can be locked by one, open for reading and writing. The kernel gives it free when this process ends, however it ends. */
export class FileLock implements Disposable {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Locks it, alone or with others who share it, whatever was before; false, and not locked, when another has it. Throws `KernelError`. */
  take(how: "alone" | "shared" = "alone"): boolean {
    const result = kernel().flock(this.fd, (how === "alone" ? LOCK_EX : LOCK_SH) | LOCK_NB);
    if (result !== EWOULDBLOCK) check("flock", result);
    return result === 0;
  }

  /** Gives it free. */
  release(): void {
    check("flock", kernel().flock(this.fd, LOCK_UN));
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** Opens a file to lock it (flock), which is made when it is not there. */
export function openLock(path: string): FileLock {
  return new FileLock(openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644));
}

/** Locks a file; undefined when another process, or another lock of this one, has it. */
export function lockFile(path: string): FileLock | undefined {
  const lock = openLock(path);
  if (lock.take()) return lock;
  lock[Symbol.dispose]();
  return undefined;
}
