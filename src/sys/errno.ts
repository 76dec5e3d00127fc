import { constants } from "node:os";

/** Errno numbers by name: `ERRNO.ENOENT` is 2. */
export const ERRNO = constants.errno;

const names = new Map<number, string>(
  Object.entries(ERRNO)
    .reverse()
    .map(([name, number]) => [number, name]),
);
// Not in Node's table, but usual answers of bpf(2) and rtnetlink.
names.set(524, "ENOTSUPP");
names.set(117, "EUCLEAN");
names.set(12, "ENOMEM");
names.set(28, "ENOSPC");

/** `errnoName(2)` is `"ENOENT"`; a number without a name is `"E<number>"`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}
