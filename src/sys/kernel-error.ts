import { errnoName } from "./errno.ts";

/** A system call failed. `code` is the errno's name ("ENOENT"), `about` what it was done to (a path, a map, a link). */
export class KernelError extends Error {
  readonly syscall: string;
  readonly errno: number;
  readonly code: string;

  constructor(syscall: string, errno: number, about?: string) {
    const code = errnoName(errno);
    super(about === undefined ? `${syscall}: ${code}` : `${syscall} ${about}: ${code}`);
    this.name = "KernelError";
    this.syscall = syscall;
    this.errno = errno;
    this.code = code;
  }
}

/** The result of a system call; throws `KernelError` when it is `-errno`. */
export function check(syscall: string, result: number, about?: string): number {
  if (result < 0) throw new KernelError(syscall, -result, about);
  return result;
}

/** Whether `error` is a failed system call, of one of `codes` when given. */
export function isKernelError(error: unknown, ...codes: readonly string[]): error is KernelError {
  return error instanceof KernelError && (codes.length === 0 || codes.includes(error.code));
}
