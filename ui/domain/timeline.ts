import { type Flow, isDenied } from "./flow.ts";

/** Flows of a stretch of time. Times are milliseconds since 1970. */
export interface Bar {
  readonly from: number;
  readonly to: number;
  forwarded: number;
  denied: number;
}

/** Counts flows in equal stretches between two times. */
export function barsOf(flows: readonly Flow[], from: number, to: number, count: number): Bar[] {
  const width = (to - from) / count;
  const bars = Array.from(
    { length: count },
    (_, index): Bar => ({ from: from + index * width, to: from + (index + 1) * width, forwarded: 0, denied: 0 }),
  );
  for (const flow of flows) {
    const bar = bars[Math.floor((Date.parse(flow.time ?? "") - from) / width)];
    if (bar === undefined) continue;
    if (isDenied(flow)) bar.denied++;
    else bar.forwarded++;
  }
  return bars;
}
