import { type Json, type KubeObject, timestamp } from "../object.ts";

/** One column of the tables that `kubectl get` shows. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  readonly format?: string;
  readonly description: string;
  /** 0 is always shown, 1 with `-o wide`. */
  readonly priority: 0 | 1;
  cell(object: KubeObject, now: Date): Json;
}

/** A column from its name and how to fill it. */
export function column(name: string, cell: Column["cell"], more: Partial<Omit<Column, "name" | "cell">> = {}): Column {
  return { name, type: "string", description: name, priority: 0, ...more, cell };
}

export const wide = (name: string, cell: Column["cell"]): Column => column(name, cell, { priority: 1 });

export const nameColumn: Column = column("Name", (object) => object.metadata.name, {
  format: "name",
  description: "Name must be unique within a namespace.",
});

export const ageColumn: Column = column("Age", (object, now) => age(object.metadata.creationTimestamp, now), {
  description: "Time since the object was created.",
});

export const createdColumn: Column = column("Created At", (object) => object.metadata.creationTimestamp, { type: "date" });

/** The time since an RFC 3339 timestamp in kubectl's short form; `<unknown>` when there is none. */
export function age(since: unknown, now: Date): string {
  if (typeof since !== "string" || since === "") return "<unknown>";
  const then = Date.parse(since);
  return Number.isNaN(then) ? "<invalid>" : humanDuration(Date.parse(timestamp(now)) - then);
}

/** kubectl's two-unit duration: `45s`, `3m20s`, `5h12m`, `47h`, `3d4h`, `400d`, `3y20d`. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (hours < 192) return two(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  return days < 2920 ? two(years, "y", days % 365, "d") : `${years}y`;
}

const two = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${big}${bigUnit}` : `${big}${bigUnit}${small}${smallUnit}`;
