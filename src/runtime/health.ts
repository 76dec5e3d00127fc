export type HealthLevel = "ok" | "degraded" | "stopped";

export interface HealthReport {
  readonly name: string;
  readonly level: HealthLevel;
  readonly message: string;
  /** When the level last changed. */
  readonly since: Date;
  /** How often it was said to be well, and to be degraded: all in all, and since it was last well. */
  readonly successes: number;
  readonly failures: number;
  readonly consecutiveFailures: number;
  readonly lastSuccess?: Date;
  readonly lastFailure?: Date;
}

/** What every part of a program last said about itself. */
export interface Health {
  set(name: string, level: HealthLevel, message?: string): void;
  /** All reports, by name. */
  list(): readonly HealthReport[];
}

export function createHealth(now: () => Date = () => new Date()): Health {
  const reports = new Map<string, HealthReport>();
  return {
    set(name, level, message = "") {
      const before = reports.get(name) ?? { name, level: undefined, since: now(), successes: 0, failures: 0, consecutiveFailures: 0 };
      const since = before.level === level ? before.since : now();
      reports.set(name, { ...before, ...countOf(before, level, now()), level, message, since });
    },
    list: () => [...reports.values()].sort((a, b) => a.name.localeCompare(b.name)),
  };
}

function countOf(before: Pick<HealthReport, "successes" | "failures" | "consecutiveFailures">, level: HealthLevel, at: Date) {
  if (level === "stopped") return {};
  if (level === "ok") return { successes: before.successes + 1, consecutiveFailures: 0, lastSuccess: at };
  return { failures: before.failures + 1, consecutiveFailures: before.consecutiveFailures + 1, lastFailure: at };
}
