import { join } from "node:path";
import { addr16 } from "#datapath/addr16.ts";
import { maps } from "#datapath/gen/maps.ts";
import type { FqdnEntry, FqdnKey } from "#datapath/gen/structs.ts";
import type { Bpf, BpfMap } from "#ebpf/bpf.ts";
import { addressFromBytes, addressToBytes, type IpAddress } from "#types/addr.ts";

/** An identity that stands for a selector of names, and until when (seconds of the monotonic clock) it begins connections. */
export interface Grant {
  readonly identity: number;
  readonly expires: number;
}

/**
 * What the kernel lets an endpoint reach by name. Every method throws when the map cannot be reached.
 * The kernel notes when a connection to an address last began; while that is noted, others begin after the time of the grants, too.
 */
export interface GrantMap {
  /** More than eight: those that last longest. What is noted of connections stays. */
  set(endpointId: number, ip: IpAddress, grants: readonly Grant[]): void;
  /** Many at once, which takes less than one by one. */
  setMany(endpointId: number, entries: Iterable<readonly [IpAddress, readonly Grant[]]>): void;
  get(endpointId: number, ip: IpAddress): readonly Grant[];
  /** When a connection to it last began, in seconds of the monotonic clock; 0: none that could live. */
  usedAt(endpointId: number, ip: IpAddress): number;
  /** Notes it; 0: no connection lives. */
  setUsed(endpointId: number, ip: IpAddress, at: number): void;
  delete(endpointId: number, ips: readonly IpAddress[]): void;
  /** The map may have been replaced: opens it again. Throws, and goes on with what it has, when it cannot be opened. */
  refresh(): void;
  entries(): Iterable<{ readonly endpointId: number; readonly ip: IpAddress; readonly grants: readonly Grant[] }>;
}

const SLOTS = 8;
const EMPTY: readonly Grant[] = Array.from({ length: SLOTS }, () => ({ identity: 0, expires: 0 }));

function keyOf(endpointId: number, ip: IpAddress): FqdnKey {
  return { address: addr16(addressToBytes(ip)), lxcId: endpointId };
}

function entryOf(grants: readonly Grant[], used: number): FqdnEntry {
  const slots = [...grants.slice(0, SLOTS), ...EMPTY.slice(grants.length)];
  return { grants: slots.map(({ identity, expires }) => ({ secId: identity, expires })), used };
}

function grantsOf({ grants }: FqdnEntry): Grant[] {
  return grants.filter(({ secId }) => secId !== 0).map(({ secId, expires }) => ({ identity: secId, expires }));
}

/** What there is to do with the map `cilium_fqdn`; `map` gives it. */
export function createGrants(map: () => BpfMap<FqdnKey, FqdnEntry>): GrantMap {
  /** A connection that begins between the two steps is found by the next search, as all others are. */
  const changed = (endpointId: number, ip: IpAddress, grants: readonly Grant[]) => {
    const key = keyOf(endpointId, ip);
    return [key, entryOf(grants, map().get(key)?.used ?? 0)] as const;
  };
  return {
    set(endpointId, ip, grants) {
      map().set(...changed(endpointId, ip, grants));
    },
    setMany(endpointId, entries) {
      map().setMany(Iterator.from(entries).map(([ip, grants]) => changed(endpointId, ip, grants)));
    },
    usedAt: (endpointId, ip) => map().get(keyOf(endpointId, ip))?.used ?? 0,
    setUsed(endpointId, ip, at) {
      const key = keyOf(endpointId, ip);
      const found = map().get(key);
      if (found !== undefined) map().set(key, { ...found, used: at });
    },
    get(endpointId, ip) {
      const found = map().get(keyOf(endpointId, ip));
      return found === undefined ? [] : grantsOf(found);
    },
    delete(endpointId, ips) {
      map().deleteMany(ips.map((ip) => keyOf(endpointId, ip)));
    },
    refresh: () => undefined,
    *entries() {
      for (const [key, entry] of map().entries())
        yield { endpointId: key.lxcId, ip: addressFromBytes(key.address.bytes), grants: grantsOf(entry) };
    },
  };
}

/** The map by its pin; opened at the first use, since the proxy may start before the agent has made it. */
export function createPinnedGrants(bpf: Pick<Bpf, "openMap">, bpfRoot: string): GrantMap & Disposable {
  let opened: BpfMap<FqdnKey, FqdnEntry> | undefined;
  const open = () => bpf.openMap(maps.ciliumFqdn, join(bpfRoot, "tc", "globals", maps.ciliumFqdn.name));
  const grants = createGrants(() => {
    opened ??= open();
    return opened;
  });
  return {
    ...grants,
    refresh() {
      const next = open();
      opened?.close();
      opened = next;
    },
    [Symbol.dispose]: () => opened?.close(),
  };
}
