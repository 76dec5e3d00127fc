import type { CtEntry, CtKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import type { IpAddress } from "#types/addr.ts";
import { addr16Text } from "./addr16.ts";

/** How many entries are looked at before others get a turn. */
const BATCH = 1024;

export interface SweepResult {
  readonly alive: number;
  readonly deleted: number;
}

/** Who wants to know of the connections that a sweep meets. */
export interface Sweep {
  /** One that stays. */
  readonly onAlive?: (entry: CtEntry) => void;
  /** One that was deleted, as it was at the end. */
  readonly onDeleted?: (entry: CtEntry) => void;
}

type Doomed = (key: CtKey, entry: CtEntry) => boolean;

/** Deletes the connections that ended: the kernel's monotonic clock is past their lifetime. */
export function collectConntrack(map: BpfMap<CtKey, CtEntry>, nowSeconds: () => number, sweep: Sweep = {}): Promise<SweepResult> {
  return sweepConntrack(map, (_key, { lifetime }) => lifetime < nowSeconds(), sweep);
}

/**
 * Deletes from `cilium_lb_ct` or `cilium_snat` what no packet has used in its time. What is in use is refreshed by its packets, so
 * this takes no port from a living connection.
 */
export async function collectTranslations<K, E extends { readonly lifetime: number }>(
  map: BpfMap<K, E>,
  nowSeconds: () => number,
): Promise<SweepResult> {
  let [seen, deleted] = [0, 0];
  for (const [key, { lifetime }] of map.entries()) {
    seen += 1;
    if (lifetime < nowSeconds() && (map.get(key)?.lifetime ?? Number.POSITIVE_INFINITY) < nowSeconds() && map.delete(key)) deleted += 1;
    if (seen % BATCH === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return { alive: seen - deleted, deleted };
}

/** Deletes all connections of these addresses: they are going to be somebody else's. */
export function purgeConntrack(map: BpfMap<CtKey, CtEntry>, addresses: ReadonlySet<IpAddress>, sweep: Sweep = {}): Promise<SweepResult> {
  const has = (text: string) => (addresses as ReadonlySet<string>).has(text);
  return sweepConntrack(map, ({ low, high }) => has(addr16Text(low)) || has(addr16Text(high)), sweep);
}

/** Looks at all connections and deletes none. */
export function visitConntrack(map: BpfMap<CtKey, CtEntry>, onAlive: (entry: CtEntry) => void): Promise<SweepResult> {
  return sweepConntrack(map, () => false, { onAlive });
}

async function sweepConntrack(map: BpfMap<CtKey, CtEntry>, isDoomed: Doomed, { onAlive, onDeleted }: Sweep): Promise<SweepResult> {
  let [seen, deleted] = [0, 0];
  for (const [key, entry] of map.entries()) {
    seen += 1;
    if (isDoomed(key, entry)) {
      // Read again: packets may have come since the batch was.
      const last = onDeleted && map.get(key);
      if (map.delete(key)) {
        deleted += 1;
        if (last) onDeleted?.(last);
      }
    } else onAlive?.(entry);
    if (seen % BATCH === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return { alive: seen - deleted, deleted };
}
