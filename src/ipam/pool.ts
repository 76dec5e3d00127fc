import type { IpAddress } from "#types/addr.ts";
import type { Prefix } from "#types/prefix.ts";
import { addressRange } from "./range.ts";

/** The pod addresses of one node and family. */
export interface Pool {
  /** The node's own address in the pool, the pods' gateway: the first usable one. Undefined when the pool has no address. */
  readonly router: IpAddress | undefined;
  /** Addresses that can be given to pods. */
  readonly capacity: number;
  readonly prefixes: readonly Prefix[];
  /** Gives the next free address; one that was just released comes last. Undefined when all are taken. */
  allocate(owner: string): IpAddress | undefined;
  /** Claims a certain address, as after a restart. False when it is not of the pool or another's. */
  take(address: IpAddress, owner: string): boolean;
  /** False when nobody had it. */
  release(address: IpAddress): boolean;
  owners(): ReadonlyMap<IpAddress, string>;
}

/** A pool over the node's pod CIDRs of one family. */
export function createPool(prefixes: readonly Prefix[]): Pool {
  const ranges = prefixes.map(addressRange);
  const router = ranges[0] && ranges[0].size > 0 ? ranges[0].at(0) : undefined;
  const total = ranges.reduce((sum, range) => sum + range.size, 0);
  const owners = new Map<IpAddress, string>();
  let cursor = 0;

  const at = (offset: number): IpAddress | undefined => {
    let rest = offset;
    for (const range of ranges) {
      if (rest < range.size) return range.at(rest);
      rest -= range.size;
    }
    return undefined;
  };
  const isOurs = (address: IpAddress) => address !== router && ranges.some((range) => range.offsetOf(address) !== undefined);

  return {
    router,
    prefixes,
    capacity: Math.max(0, total - 1),
    allocate(owner) {
      for (let tried = 0; tried < total; tried++) {
        const address = at(cursor);
        cursor = (cursor + 1) % total;
        if (address === undefined || address === router || owners.has(address)) continue;
        owners.set(address, owner);
        return address;
      }
      return undefined;
    },
    take(address, owner) {
      if (!isOurs(address) || (owners.get(address) ?? owner) !== owner) return false;
      owners.set(address, owner);
      return true;
    },
    release: (address) => owners.delete(address),
    owners: () => owners,
  };
}
