import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

/** The two ends of a pipe, as descriptors that a program started from here does not inherit unless it is given them. */
export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

/** A pipe of the kernel. What Node makes for `stdio: "pipe"` is a socket, and `/dev/stdout` cannot be opened on a socket. */
export function openPipe(): Pipe {
  const ends = Buffer.alloc(8);
  check("pipe2", kernel().pipe(ends));
  return { readFd: ends.readInt32LE(0), writeFd: ends.readInt32LE(4) };
}
