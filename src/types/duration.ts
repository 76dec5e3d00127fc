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
  const sign = duration < 0 ? "-" : "";
  const ms = Math.abs(duration);
  if (ms === 0) return "0s";
  if (ms < 1000) return `${sign}${Number(ms.toFixed(6))}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = Number(((ms % 60_000) / 1000).toFixed(9));
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}
