import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { UsageError } from "./args.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const DATE = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d))?)?(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?$/;
const RFC1123Z = /^[A-Z][a-z]{2}, (\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4})$/;

/**
 * Reads `--since` and `--until`: a span before now (`3s`, `1h30m`; with `-` after now), RFC3339 as far as one likes and without a zone
 * for UTC (`2026-06-14`, `2026-06-14T13Z`), or RFC1123Z. Throws UsageError naming the flag.
 */
export function parseTime(flag: string, text: string, now: number = Date.now()): Timestamp {
  const span = parseSpan(text);
  if (span !== undefined) return fromMilliseconds(now - span);
  const [, day, hour = "00", minute = "00", second = "00", fraction, zone = "Z"] = DATE.exec(text) ?? [];
  const at = Date.parse(day === undefined ? (RFC1123Z.exec(text)?.[1] ?? "") : `${day}T${hour}:${minute}:${second}${zone}`);
  if (Number.isNaN(at))
    throw new UsageError(
      `failed to parse the ${flag} time: failed to convert ${text} to time: expected a duration such as 5m or RFC3339 such as 2026-06-14T13:25:42Z`,
    );
  const nanos = Number((fraction ?? ".").slice(1).padEnd(9, "0"));
  return { $typeName: "google.protobuf.Timestamp", seconds: BigInt(Math.floor(at / 1000)), nanos };
}

function parseSpan(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)];
  const sign = text.startsWith("-") ? -1 : 1;
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text.replace(/^[-+]/, "")) return undefined;
  return sign * parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNIT_MS[unit ?? ""] ?? 0), 0);
}

function fromMilliseconds(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return { $typeName: "google.protobuf.Timestamp", seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}
