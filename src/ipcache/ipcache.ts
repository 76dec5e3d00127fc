import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import { addressFamily, type IpAddress } from "#types/addr.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { hostPrefix, type Prefix, prefixOf, prefixParts } from "#types/prefix.ts";

/** Who says so, strongest first. */
export const IPCACHE_SOURCES = ["local", "node", "kube-apiserver", "endpoint", "policy", "pod-cidr"] as const;
export type IpcacheSource = (typeof IPCACHE_SOURCES)[number];

/** What a prefix is to the datapath. */
export interface IpcacheRow {
  readonly prefix: Prefix;
  readonly identity: NumericIdentity;
  /** The node it is on, when that is not this one. */
  readonly nodeIp: IpAddress | undefined;
  readonly source: IpcacheSource;
  readonly pod: { readonly namespace: string; readonly name: string } | undefined;
}

/** One source's word on a prefix. `owner` names the object behind it (`default/web`), so that objects cannot remove each other's claims. */
export interface Claim {
  readonly prefix: Prefix;
  readonly identity: NumericIdentity;
  readonly source: IpcacheSource;
  readonly owner: string;
  readonly nodeIp?: IpAddress | undefined;
  readonly pod?: { readonly namespace: string; readonly name: string } | undefined;
}

export interface Ipcache {
  readonly table: Table<IpcacheRow>;
  /** Sets the claim of this source and owner on the prefix. Among claims of one source the latest wins: it is the new owner of a reused address. */
  claim(claim: Claim): void;
  /** Takes it back; nothing happens when there is none. */
  release(claim: Pick<Claim, "prefix" | "source" | "owner">): void;
  /** The row of the longest prefix that has the address. */
  lookup(address: IpAddress): IpcacheRow | undefined;
  /** Names a source that will list; call what it returns once it has. */
  expect(source: string): () => void;
}

/** The ipcache table and its only writer. */
export function createIpcache(db: Database): Ipcache {
  const table = db.createTable<IpcacheRow>({
    name: "ipcache",
    key: (row) => row.prefix,
    indexes: { identity: (row) => row.identity },
    columns: {
      PREFIX: (row) => row.prefix,
      IDENTITY: (row) => row.identity,
      NODE: (row) => row.nodeIp,
      SOURCE: (row) => row.source,
      POD: (row) => row.pod && `${row.pod.namespace}/${row.pod.name}`,
    },
  });
  const claims = new Map<Prefix, Map<string, Claim>>();
  const lengths = createLengths();

  const publish = (prefix: Prefix) => {
    const best = strongest(claims.get(prefix)?.values() ?? []);
    if (best === undefined) {
      if (table.delete(prefix)) lengths.remove(prefix);
      return;
    }
    const old = table.get(prefix);
    if (old === undefined) lengths.add(prefix);
    if (old === undefined || !isSame(old, best)) {
      table.set({ prefix, identity: best.identity, nodeIp: best.nodeIp, source: best.source, pod: best.pod });
    }
  };
  return {
    table,
    expect: (source) => table.expect(source),
    claim(claim) {
      const key = `${claim.source} ${claim.owner}`;
      const owners = claims.get(claim.prefix) ?? new Map<string, Claim>();
      const old = owners.get(key);
      if (old && isSame(old, claim)) return;
      // Deleted and set again: the latest claim is the last of the map.
      owners.delete(key);
      owners.set(key, claim);
      claims.set(claim.prefix, owners);
      publish(claim.prefix);
    },
    release({ prefix, source, owner }) {
      const owners = claims.get(prefix);
      if (!owners?.delete(`${source} ${owner}`)) return;
      if (owners.size === 0) claims.delete(prefix);
      publish(prefix);
    },
    lookup(address) {
      for (const bits of lengths.of(addressFamily(address))) {
        const row = table.get(prefixOf(address, bits));
        if (row) return row;
      }
      return undefined;
    },
  };
}

function strongest(claims: Iterable<Claim>): Claim | undefined {
  let best: Claim | undefined;
  for (const claim of claims) {
    if (best === undefined || IPCACHE_SOURCES.indexOf(claim.source) <= IPCACHE_SOURCES.indexOf(best.source)) best = claim;
  }
  return best;
}

type Said = Pick<Claim, "identity" | "nodeIp" | "source" | "pod">;

function isSame(row: Said, claim: Said): boolean {
  return (
    row.identity === claim.identity &&
    row.nodeIp === claim.nodeIp &&
    row.source === claim.source &&
    row.pod?.namespace === claim.pod?.namespace &&
    row.pod?.name === claim.pod?.name
  );
}

/** Which prefix lengths there are of each family, longest first, so that a lookup tries only these. */
function createLengths() {
  const counts = { 4: new Map<number, number>(), 6: new Map<number, number>() };
  const ordered: Record<4 | 6, number[]> = { 4: [32], 6: [128] };
  const change = (prefix: Prefix, by: 1 | -1) => {
    const { bits, family } = prefixParts(prefix);
    const count = (counts[family].get(bits) ?? 0) + by;
    if (count > 0) counts[family].set(bits, count);
    else counts[family].delete(bits);
    ordered[family] = [...counts[family].keys()].sort((a, b) => b - a);
  };
  return {
    add: (prefix: Prefix) => change(prefix, 1),
    remove: (prefix: Prefix) => change(prefix, -1),
    of: (family: 4 | 6): readonly number[] => ordered[family],
  };
}

/** Whether the prefix is one address: such rows go to the exact-match map. */
export function isHostPrefix(prefix: Prefix): boolean {
  return hostPrefix(prefixParts(prefix).address) === prefix;
}
