import type { Addr16, IpcacheLpmKey, RemoteInfo } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { addressToBytes, IpAddress } from "#types/addr.ts";
import { reservedIdentity } from "#types/identity.ts";

/** Who is behind an address. */
export interface IdentityLookup {
  /** The numeric identity of an address in canonical text form. Unknown addresses are world. Throws when the maps cannot be read. */
  identityOf(ip: string): number;
  /** The maps may have been replaced: ask again. Throws, and goes on with what it has, when they cannot be opened. */
  refresh(): void;
}

/** The part of a map that is used. */
type Lookup<K, V> = Pick<BpfMap<K, V>, "get">;

const HOST_PREFIX = 128;

/** Asks the maps that the datapath itself asks, in its order: exact addresses, then the longest prefix. */
export function createIpcacheLookup(exact: Lookup<Addr16, RemoteInfo>, prefixes: Lookup<IpcacheLpmKey, RemoteInfo>): IdentityLookup {
  return {
    identityOf(ip) {
      const address = { bytes: addressToBytes(IpAddress(ip)) };
      const info = exact.get(address) ?? prefixes.get({ prefixlen: HOST_PREFIX, address });
      return info?.secId ?? reservedIdentity.world;
    },
    refresh: () => undefined,
  };
}

const MAX_CACHED = 8192;

/** Remembers answers for `ttlMs`: an address is asked about with every request. */
export function cacheIdentities(lookup: IdentityLookup, ttlMs: number, now: () => number): IdentityLookup {
  const known = new Map<string, { readonly identity: number; readonly until: number }>();
  return {
    identityOf(ip) {
      const found = known.get(ip);
      if (found !== undefined && now() < found.until) return found.identity;
      const identity = lookup.identityOf(ip);
      if (known.size >= MAX_CACHED) known.clear();
      known.set(ip, { identity, until: now() + ttlMs });
      return identity;
    },
    refresh() {
      known.clear();
      lookup.refresh();
    },
  };
}
