import type { LbCtEntry, LbCtKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";

/** How many entries are looked at before others get a turn. */
const BATCH = 1024;

/** Deletes the connections to services whose backend is no more: its number may become another's. Resolves with how many those were. */
export async function dropStaleConnections(map: BpfMap<LbCtKey, LbCtEntry>, hasBackend: (id: number) => boolean): Promise<number> {
  let [seen, deleted] = [0, 0];
  for (const [key, { backendId }] of map.entries()) {
    if (!hasBackend(backendId) && map.delete(key)) deleted += 1;
    if (++seen % BATCH === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return deleted;
}
