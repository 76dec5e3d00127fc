import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

const CLOCK_MONOTONIC = 1;
const CLOCK_BOOTTIME = 7;

/** Nanoseconds since boot, suspension included: `bpf_ktime_get_boot_ns`, the clock of flow events. */
export function boottimeNs(): bigint {
  return read(CLOCK_BOOTTIME);
}

/** Nanoseconds of the monotonic clock: `bpf_ktime_get_ns`, the clock of conntrack lifetimes. */
export function monotonicNs(): bigint {
  return read(CLOCK_MONOTONIC);
}

function read(clock: number): bigint {
  const now = kernel().clockGettime(clock);
  return typeof now === "bigint" ? now : BigInt(check("clock_gettime", now));
}
