/** One difference between the data and the engine. */
export type Difference = {
  readonly id: string;
  readonly aspect: string;
  readonly where: string;
  readonly expected: string;
  readonly actual: string;
};

/** The outcome of one file. */
export type Outcome = {
  readonly file: string;
  readonly cases: number;
  readonly checks: number;
  readonly differences: readonly Difference[];
  /** What could not be read or run, as `file:line: why`; each is a failure. */
  readonly problems: readonly string[];
  /** Differences that SEMANTICS §3 decided on, by the reason. */
  readonly deviations: ReadonlyMap<string, readonly Difference[]>;
  readonly skipped?: string;
  /** Questions that could not be put, by the reason. */
  readonly unasked?: ReadonlyMap<string, number>;
};

/** Collects what one file's cases show. */
export class Recorder {
  readonly #file: string;
  readonly #differences: Difference[] = [];
  readonly #deviations = new Map<string, Difference[]>();
  readonly #problems: string[] = [];
  #cases = 0;
  #checks = 0;

  constructor(file: string) {
    this.#file = file;
  }

  startCase(): void {
    this.#cases++;
  }

  /** The file, or a line of it, can not be run. */
  refuse(problem: string, line?: number): void {
    this.#problems.push(`${this.#file}${line === undefined ? "" : `:${line}`}: ${problem}`);
  }

  /** Compares two values by their JSON; a difference counts as a deviation when a reason is given. */
  compare(id: string, aspect: string, where: string, expected: unknown, actual: unknown, deviation?: string): boolean {
    this.#checks++;
    const left = JSON.stringify(expected) ?? "nothing";
    const right = JSON.stringify(actual) ?? "nothing";
    if (left === right) return true;
    const difference = { id, aspect, where, expected: left, actual: right };
    if (deviation === undefined) {
      this.#differences.push(difference);
    } else this.#deviations.set(deviation, [...(this.#deviations.get(deviation) ?? []), difference]);
    return false;
  }

  outcome(): Outcome {
    const [file, cases, checks, differences, problems] = [this.#file, this.#cases, this.#checks, this.#differences, this.#problems];
    return { file, cases, checks, differences, problems, deviations: this.#deviations };
  }
}

function pad(columns: readonly (string | number)[], widths: readonly number[]): string {
  return columns.map((one, i) => (i === 0 ? String(one).padEnd(widths[i] ?? 0) : String(one).padStart(widths[i] ?? 0))).join("  ");
}

function failuresOf({ differences, problems }: Outcome): number {
  return differences.length + problems.length;
}

/** The table of all files. */
export function formatTable(outcomes: readonly Outcome[]): string {
  const widths = [34, 7, 9, 9, 11];
  const lines = [pad(["file", "cases", "checks", "differ", "deviations"], widths)];
  for (const one of outcomes) {
    if (one.skipped !== undefined) lines.push(`${one.file.padEnd(34)}  skipped: ${one.skipped}`);
    else lines.push(pad([one.file, one.cases, one.checks, failuresOf(one), [...one.deviations.values()].flat().length], widths));
  }
  return lines.join("\n");
}

/** The sums of several counts by reason, one a line. */
export function formatReasons(counts: readonly ReadonlyMap<string, number>[]): string {
  const sums = new Map<string, number>();
  for (const one of counts) for (const [reason, count] of one) sums.set(reason, (sums.get(reason) ?? 0) + count);
  return [...sums].map(([reason, count]) => `  ${reason}: ${count}`).join("\n");
}

/** Everything that failed in a file, one a line. */
export function formatDifferences({ problems, differences }: Outcome): string {
  const differing = differences.map((one) => `${one.id} ${one.aspect} ${one.where}: expected ${one.expected}, got ${one.actual}`);
  return [...problems, ...differing].join("\n");
}

/** How many checks passed and failed. */
export function totals(outcomes: readonly Outcome[]): { readonly passed: number; readonly failed: number; readonly deviations: number } {
  let [passed, failed, deviations] = [0, 0, 0];
  for (const one of outcomes) {
    const deviating = [...one.deviations.values()].flat().length;
    failed += failuresOf(one);
    deviations += deviating;
    passed += one.checks - one.differences.length - deviating;
  }
  return { passed, failed, deviations };
}
