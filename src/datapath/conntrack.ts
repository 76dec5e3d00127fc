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

type Doomed = (key: CtKey, entry: CtEntry) => boolean;

/** Deletes the connections that ended: the kernel's monotonic clock is past their lifetime. */
export function collectConntrack(map: BpfMap<CtKey, CtEntry>, nowSeconds: () => number): Promise<SweepResult> {
  return sweep(map, (_key, { lifetime }) => lifetime < nowSeconds());
}

/** Deletes all connections of these addresses: they are going to be somebody else's. */
export function purgeConntrack(map: BpfMap<CtKey, CtEntry>, addresses: ReadonlySet<IpAddress>): Promise<SweepResult> {
  const has = (text: string) => (addresses as ReadonlySet<string>).has(text);
  return sweep(map, ({ low, high }) => has(addr16Text(low)) || has(addr16Text(high)));
}

async function sweep(map: BpfMap<CtKey, CtEntry>, isDoomed: Doomed): Promise<SweepResult> {
  let [seen, deleted] = [0, 0];
  for (const [key, entry] of map.entries()) {
    seen += 1;
    if (isDoomed(key, entry) && map.delete(key)) deleted += 1;
    if (seen % BATCH === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return { alive: seen - deleted, deleted };
}
