import type { IpcacheLpmKey, RemoteInfo } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { type IpcacheRow, isHostPrefix } from "#ipcache/ipcache.ts";
import type { SyncTarget } from "#reconciler/reconciler.ts";
import { addressToBytes } from "#types/addr.ts";
import { prefixParts, prefixToBytes } from "#types/prefix.ts";
import { type Addr16, addr16, addr16Text } from "../addr16.ts";

export interface IpcacheKernel {
  /** cilium_ipcache: single addresses, asked first. */
  readonly exact: BpfMap<Addr16, RemoteInfo>;
  /** cilium_ipcache_lpm: everything shorter. */
  readonly prefixes: BpfMap<IpcacheLpmKey, RemoteInfo>;
}

const NO_NODE = addr16(new Uint8Array(16));

/** The ipcache table in its two maps. */
export function createIpcacheTarget({ exact, prefixes }: IpcacheKernel): SyncTarget<IpcacheRow> {
  return {
    update(row) {
      const value: RemoteInfo = {
        secId: row.identity,
        tunnelEndpoint: row.nodeIp ? addr16(addressToBytes(row.nodeIp)) : NO_NODE,
        flags: 0,
      };
      if (isHostPrefix(row.prefix)) exact.set(hostKey(row), value);
      else prefixes.set(prefixKey(row), value);
    },
    remove(row) {
      if (isHostPrefix(row.prefix)) exact.delete(hostKey(row));
      else prefixes.delete(prefixKey(row));
    },
    prune(rows) {
      const keep = new Set([...rows].map((row) => (isHostPrefix(row.prefix) ? addr16Text(hostKey(row)) : prefixText(prefixKey(row)))));
      exact.deleteMany([...exact.keys()].filter((key) => !keep.has(addr16Text(key))));
      prefixes.deleteMany([...prefixes.keys()].filter((key) => !keep.has(prefixText(key))));
    },
  };
}

function hostKey({ prefix }: IpcacheRow): Addr16 {
  return addr16(addressToBytes(prefixParts(prefix).address));
}

function prefixKey({ prefix }: IpcacheRow): IpcacheLpmKey {
  const { bytes, bits } = prefixToBytes(prefix);
  return { prefixlen: bits, address: addr16(bytes) };
}

function prefixText({ prefixlen, address }: IpcacheLpmKey): string {
  return `${addr16Text(address)}/${prefixlen}`;
}
