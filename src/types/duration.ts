import type { Brand } from "./brand.ts";

/** A span of time in milliseconds, made by `Milliseconds`, `Seconds`, `Minutes` or `Hours`. */
export type Duration = Brand<number, "Duration">;

/** A span of so many milliseconds. */
export function Milliseconds(n: number): Duration {
  return n as Duration;
}

/** A span of so many seconds. */
export function Seconds(n: number): Duration {
  return (n * 1000) as Duration;
}

/** A span of so many minutes. */
export function Minutes(n: number): Duration {
  return (n * 60_000) as Duration;
}

/** A span of so many hours. */
export function Hours(n: number): Duration {
  return (n * 3_600_000) as Duration;
}

const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads Go's notation (`1h30m`, `250ms`, `0`), the form in which flags are written; undefined when it is none. */
export function parseDuration(text: string): Duration | undefined {
  if (text === "0") return Milliseconds(0);
  if (!/^-?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h|d))+$/.test(text)) return undefined;
  const sign = text.startsWith("-") ? -1 : 1;
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h|d)/g)) total += Number(number) * (units[unit ?? ""] ?? 0);
  return Milliseconds(sign * total);
}

/** Writes Go's notation: `1h30m0s`, `250ms`. */
export function formatDuration(duration: Duration): string {
  const nanoseconds = BigInt(Math.round(Math.abs(duration) * 1e6));
  return `${duration < 0 ? "-" : ""}${formatNanoseconds(nanoseconds)}`;
}

const SECOND = 1_000_000_000n;
const MINUTE = 60n * SECOND;
const HOUR = 60n * MINUTE;
/** Units of what is shorter than a second, the largest first. */
const SMALL: readonly (readonly [string, bigint])[] = [
  ["ms", 1_000_000n],
  ["µs", 1_000n],
  ["ns", 1n],
];

/** Nanoseconds in Go's notation: `3h25m45.5s`, `1.5ms`, `0s`. Source: Go's `time.Duration.String`. */
export function formatNanoseconds(nanoseconds: bigint): string {
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
