import { KernelError } from "#sys/kernel-error.ts";
import type { Change } from "./netlink.ts";

/** The kernel refused a change. `code` is the errno's name; the message has the kernel's own words when it gave any. */
export class NetlinkError extends KernelError {
  readonly change: Change | undefined;

  constructor(about: string, errno: number, words: string, change?: Change) {
    super("rtnetlink", errno, about);
    this.name = "NetlinkError";
    this.change = change;
    if (words !== "") this.message += ` (${words})`;
  }
}

/** `route 10.0.0.0/24 via 10.0.0.1 index 3`: a change in one line. */
export function describeChange(change: Change): string {
  const { set, ...rest } = change;
  const fields = Object.entries(rest).filter(([, value]) => value !== undefined);
  return `${set} ${fields.map(([name, value]) => (name === "to" ? `${value}` : `${name} ${value}`)).join(" ")}`;
}
