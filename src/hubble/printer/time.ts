import type { Timestamp } from "@bufbuild/protobuf/wkt";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;

const two = (n: number): string => String(n).padStart(2, "0");

interface Parts {
  readonly date: Date;
  readonly day: string;
  readonly clock: string;
  /** Nine digits. */
  readonly fraction: string;
}

const FORMATS: Readonly<Record<string, (parts: Parts) => string>> = {
  StampMilli: ({ date, clock, fraction }) =>
    `${MONTHS[date.getUTCMonth()]} ${String(date.getUTCDate()).padStart(2)} ${clock}.${fraction.slice(0, 3)}`,
  YearMonthDay: ({ day }) => day,
  YearMonthDayHour: ({ day, clock }) => `${day}T${clock.slice(0, 2)}Z`,
  YearMonthDayHourMinute: ({ day, clock }) => `${day}T${clock.slice(0, 5)}Z`,
  RFC3339: ({ day, clock }) => `${day}T${clock}Z`,
  RFC3339Milli: ({ day, clock, fraction }) => `${day}T${clock}${trimmed(fraction.slice(0, 3))}Z`,
  RFC3339Micro: ({ day, clock, fraction }) => `${day}T${clock}${trimmed(fraction.slice(0, 6))}Z`,
  RFC3339Nano: ({ day, clock, fraction }) => `${day}T${clock}${trimmed(fraction)}Z`,
  RFC1123Z: ({ date, clock }) =>
    `${DAYS[date.getUTCDay()]}, ${two(date.getUTCDate())} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()} ${clock} +0000`,
};

function trimmed(fraction: string): string {
  const digits = fraction.replace(/0+$/, "");
  return digits === "" ? "" : `.${digits}`;
}

/** Names that `--time-format` knows. */
export const timeFormats: readonly string[] = Object.keys(FORMATS);

/** A time in UTC in one of `timeFormats`; `N/A` for none. */
export function formatTime(timestamp: Timestamp | undefined, format = "StampMilli"): string {
  const write = FORMATS[format];
  if (timestamp === undefined || write === undefined) return "N/A";
  const date = new Date(Number(timestamp.seconds) * 1000);
  const day = `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  return write({ date, day, clock, fraction: String(timestamp.nanos).padStart(9, "0") });
}
