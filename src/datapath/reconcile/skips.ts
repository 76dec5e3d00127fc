import type { LbSkipKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import type { SkipRow } from "#loadbalancer/skips.ts";
import type { SyncTarget } from "#reconciler/reconciler.ts";
import { addressToBytes, IpAddress } from "#types/addr.ts";
import { parseProtocol } from "#types/proto.ts";
import { addr16, addr16Text } from "../addr16.ts";

/** Backends of local redirects that are not redirected themselves, in `cilium_skip_lb`: by namespace for sockets, by veth for packets. */
export function createSkipTarget(map: BpfMap<LbSkipKey, number>): SyncTarget<SkipRow> {
  return {
    update(row, previous) {
      if (previous) map.deleteMany(without(keysOf(previous), keysOf(row)));
      map.setMany(keysOf(row).map((key) => [key, 1] as const));
    },
    remove(row) {
      map.deleteMany(keysOf(row));
    },
    prune(rows) {
      map.deleteMany(without([...map.keys()], [...rows].flatMap(keysOf)));
    },
  };
}

function keysOf({ address: { ip, port, protocol: name }, netnsCookie, ifindex }: SkipRow): LbSkipKey[] {
  const address = addr16(addressToBytes(IpAddress(ip)));
  const protocol = parseProtocol(name) ?? 0;
  return [
    { netnsCookie, address, port, protocol, ifindex: 0 },
    { netnsCookie: 0n, address, port, protocol, ifindex },
  ];
}

function without(keys: readonly LbSkipKey[], kept: readonly LbSkipKey[]): LbSkipKey[] {
  const left = new Set(kept.map(text));
  return keys.filter((key) => !left.has(text(key)));
}

function text({ netnsCookie, ifindex, address, port, protocol }: LbSkipKey): string {
  return `${netnsCookie} ${ifindex} ${addr16Text(address)} ${port} ${protocol}`;
}
