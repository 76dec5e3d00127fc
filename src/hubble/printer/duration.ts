const SECOND = 1_000_000_000n;
const MINUTE = 60n * SECOND;
const HOUR = 60n * MINUTE;
/** Units of what is shorter than a second, the largest first. */
const SMALL: readonly (readonly [string, bigint])[] = [
  ["ms", 1_000_000n],
  ["µs", 1_000n],
  ["ns", 1n],
];

/** Nanoseconds in Go's notation: `3h25m45.5s`, `1.5ms`, `0s`. */
export function goDuration(nanoseconds: bigint): string {
  if (nanoseconds === 0n) return "0s";
  const small = nanoseconds < SECOND ? SMALL.find(([, unit]) => nanoseconds >= unit) : undefined;
  if (small !== undefined) return decimal(nanoseconds, small[1]) + small[0];
  const hours = nanoseconds >= HOUR ? `${nanoseconds / HOUR}h` : "";
  const minutes = nanoseconds >= MINUTE ? `${(nanoseconds % HOUR) / MINUTE}m` : "";
  return `${hours}${minutes}${decimal(nanoseconds % MINUTE, SECOND)}s`;
}

function decimal(value: bigint, unit: bigint): string {
  const digits = String(unit).length - 1;
  const fraction = String(value % unit)
    .padStart(digits, "0")
    .replace(/0+$/, "");
  return `${value / unit}${digits === 0 || fraction === "" ? "" : `.${fraction}`}`;
}
