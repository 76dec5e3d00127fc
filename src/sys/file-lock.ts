import { closeSync, constants, openSync } from "node:fs";
import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = -11;

/** A file that nobody else has locked, open for reading and writing. The kernel gives it free when this process ends, however it ends. */
export class FileLock implements Disposable {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** Locks a file (flock) that is made when it is not there; undefined when another process, or another lock of this one, has it. */
export function lockFile(path: string): FileLock | undefined {
  const lock = new FileLock(openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644));
  const result = kernel().flock(lock.fd, LOCK_EX | LOCK_NB);
  if (result === 0) return lock;
  lock[Symbol.dispose]();
  if (result !== EWOULDBLOCK) check("flock", result, path);
  return undefined;
}
