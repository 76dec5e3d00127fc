import { constants } from "node:os";

/** Errno numbers by name: `ERRNO.ENOENT` is 2. */
export const ERRNO = constants.errno;

const names = new Map<number, string>(
  Object.entries(ERRNO)
    .reverse()
    .map(([name, number]) => [number, name]),
);
// What Node's table does not have, or has under a rarer name.
names.set(95, "EOPNOTSUPP");
names.set(524, "ENOTSUPP");

/** `errnoName(2)` is `"ENOENT"`; a number without a name is `"E<number>"`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}
