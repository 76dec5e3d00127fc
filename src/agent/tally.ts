type Labels = Readonly<Record<string, string>>;

/** How often something happened, by labels; metrics read it. */
export interface Tally<Names extends string> {
  add(labels: Readonly<Record<Names, string>>, count?: number): void;
  samples(): [labels: Labels, count: number][];
}

export function createTally<Names extends string>(): Tally<Names> {
  const counts = new Map<string, [Labels, number]>();
  return {
    add(labels, count = 1) {
      const key = JSON.stringify(labels);
      const found = counts.get(key);
      if (found) found[1] += count;
      else counts.set(key, [labels, count]);
    },
    samples: () => [...counts.values()],
  };
}
