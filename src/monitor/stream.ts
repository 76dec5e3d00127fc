import { type BootClock, decodeRecord } from "./decode.ts";
import { type LostEvent, type MonitorEvent, nowNanoseconds } from "./events.ts";

export interface MonitorStreamDeps {
  /** Opens the ring buffer `cilium_events`; each record's bytes are valid during the call only. */
  readonly openRing: (onBatch: (records: Iterable<Uint8Array>) => void) => Disposable | { close(): void };
  /** The sum of `cilium_events_lost` over all CPUs. */
  readonly readLost: () => bigint;
  readonly push: (event: MonitorEvent) => void;
  readonly clock: BootClock;
  /** Called for records that nobody understands, with their first byte. */
  readonly onUnknown?: (type: number | undefined) => void;
}

const LOST_INTERVAL_MS = 1000;

/** Hands every record of the datapath to `push`, and once a second the number of those the kernel had to drop. */
export function startMonitorStream(deps: MonitorStreamDeps): AsyncDisposable {
  let lost = deps.readLost();
  const ring = deps.openRing((records) => {
    for (const record of records) {
      const event = decodeRecord(record, deps.clock);
      if (event === undefined) deps.onUnknown?.(record[0]);
      else deps.push(event);
    }
  });
  const timer = setInterval(() => {
    const event = lostSince(deps.readLost());
    if (event !== undefined) deps.push(event);
  }, LOST_INTERVAL_MS);
  timer.unref();
  const lostSince = (present: bigint): LostEvent | undefined => {
    const count = Number(present - lost);
    lost = present;
    return count > 0 ? { type: "lost", time: nowNanoseconds(), source: "kernel", count } : undefined;
  };
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      if ("close" in ring) ring.close();
      else ring[Symbol.dispose]();
    },
  };
}
