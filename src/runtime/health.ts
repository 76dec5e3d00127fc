export type HealthLevel = "ok" | "degraded" | "stopped";

export interface HealthReport {
  readonly name: string;
  readonly level: HealthLevel;
  readonly message: string;
  /** When the level last changed. */
  readonly since: Date;
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
      const before = reports.get(name);
      const since = before?.level === level ? before.since : now();
      reports.set(name, { name, level, message, since });
    },
    list: () => [...reports.values()].sort((a, b) => a.name.localeCompare(b.name)),
  };
}
