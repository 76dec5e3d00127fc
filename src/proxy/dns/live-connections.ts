import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { addr16Text } from "#datapath/addr16.ts";
import { maps } from "#datapath/gen/maps.ts";
import type { CtEntry, CtKey } from "#datapath/gen/structs.ts";
import type { Bpf } from "#ebpf/bpf.ts";
import type { IpAddress } from "#types/addr.ts";

/** Which of some addresses live connections of endpoints go to. Keys as `connectionKey` makes them. */
export type FindLive = (wanted: ReadonlySet<string>) => Promise<ReadonlySet<string>>;

export function connectionKey(endpointId: number, ip: IpAddress): string {
  return `${endpointId} ${ip}`;
}

const ORIGIN_HIGH = 1;
/** Entries looked at before others have their turn, and the pause then: a walk must not be felt by a query. */
const BATCH = 128;
const PAUSE_MS = 2;

/** Walks the connection table. Rejects when it cannot be read: then nothing is known to be over. */
export function createConntrackSearch(bpf: Pick<Bpf, "openMap">, bpfRoot: string, nowSeconds: () => number): FindLive {
  const pin = join(bpfRoot, "tc", "globals", maps.ciliumCt.name);
  return async (wanted) => {
    const live = new Set<string>();
    using map = bpf.openMap(maps.ciliumCt, pin);
    let seen = 0;
    for (const [key, entry] of map.entries()) {
      seen += 1;
      if (seen % BATCH === 0) await wait(PAUSE_MS);
      const connection = calledBy(key, entry, nowSeconds());
      if (connection !== undefined && wanted.has(connection)) live.add(connection);
    }
    return live;
  };
}

/** The endpoint of this node that began a connection which is not over, and whom it called. */
function calledBy(key: CtKey, { egress, flags, lifetime }: CtEntry, now: number): string | undefined {
  if (egress.lxcId === 0 || lifetime < now) return undefined;
  return connectionKey(egress.lxcId, addr16Text(flags & ORIGIN_HIGH ? key.low : key.high));
}
