/** One figure and what it is compared with. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  /** The peer's figure of the same run; absent where there is nothing to compare with. */
  readonly peer?: number;
  readonly peerName?: string;
  /** What `ratio` (ours / peer), or `ours` without a peer, must not exceed. */
  readonly goal?: number;
  readonly note?: string;
}

/** A benchmark: its name is what `npm run bench -- NAME` takes. */
export interface Benchmark {
  readonly name: string;
  readonly about: string;
  /** So long that it does not run with the others. */
  readonly onlyByName?: boolean;
  readonly run: (progress: (text: string) => void, options?: { readonly minutes?: number }) => Promise<readonly Row[]>;
}

export function ratioOf({ ours, peer }: Row): number | undefined {
  return peer === undefined || peer === 0 ? undefined : ours / peer;
}

/** Whether the goal is met; undefined without a goal. */
export function holds(row: Row): boolean | undefined {
  return row.goal === undefined ? undefined : (ratioOf(row) ?? row.ours) <= row.goal;
}

/** The value below which `share` (0 to 1) of the sorted numbers lie. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** Two rows, of median and 99th percentile, for samples without a peer. */
export function percentiles(
  of: { readonly name: string; readonly unit: string; readonly note?: string },
  samples: readonly number[],
  goals: { readonly p50?: number; readonly p99?: number } = {},
): Row[] {
  return (["p50", "p99"] as const).map((which) => {
    const goal = goals[which];
    return {
      ...of,
      name: `${of.name}-${which}`,
      ours: quantile(samples, which === "p50" ? 0.5 : 0.99),
      ...(goal === undefined ? {} : { goal }),
    };
  });
}
