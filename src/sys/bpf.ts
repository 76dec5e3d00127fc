import type { LoadedFds, LoadOptions, ObjectFailure, PointerArguments } from "../../native/kernel.d.ts";
import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

/** bpf(2): the result or -errno. Pairs (offset, buffer) put the buffers' addresses into `attr`; see `bpf_attr` in linux/bpf.h. */
export function bpf(command: number, attr: Uint8Array, ...pointers: PointerArguments): number {
  return kernel().bpf(command, attr, ...pointers);
}

/** Loads an object file with libbpf; the descriptors are the caller's. */
export function loadObjectFile(path: string, options: LoadOptions, pinRoot?: string): LoadedFds | ObjectFailure {
  return kernel().objectLoad(path, options, pinRoot);
}

/** Calls `onBatch` with runs of records of a ring buffer map until the returned function is called. Keeps the process alive. */
export function readRing(fd: number, size: number, onBatch: (batch: Buffer) => void): () => void {
  const ring = kernel().ringOpen(fd, size, onBatch);
  if (typeof ring === "number") {
    check("ring buffer mmap", ring);
    throw new TypeError("ringOpen gave no handle");
  }
  return () => kernel().ringClose(ring);
}

/** Closes a descriptor that `bpf` or `loadObjectFile` returned. */
export function closeBpf(fd: number): void {
  kernel().close(fd);
}
