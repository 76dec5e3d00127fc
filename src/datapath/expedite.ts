import { closeSync, openSync, writeSync } from "node:fs";

/** Runs work whose system calls wait for the kernel's grace periods. */
export type Expedite = <T>(work: () => T) => T;

const SWITCH = "/sys/kernel/rcu_expedited";

/**
 * Attaching a program and changing a map of maps wait until no CPU can still see the old one: 10-20 ms each by default, with
 * the event loop standing still. Expedited, the kernel asks the CPUs at once: some 50 µs. It is switched on for the work only,
 * since it disturbs all CPUs. Where it cannot be written, the work just takes longer.
 */
export function createExpedite(): Expedite {
  let fd: number | undefined;
  try {
    fd = openSync(SWITCH, "w");
  } catch {
    return (work) => work();
  }
  let depth = 0;
  const set = (value: "0" | "1") => {
    try {
      if (fd !== undefined) writeSync(fd, value, 0);
    } catch {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    }
  };
  return (work) => {
    depth += 1;
    if (depth === 1) set("1");
    try {
      return work();
    } finally {
      depth -= 1;
      if (depth === 0) set("0");
    }
  };
}
