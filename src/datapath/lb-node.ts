import type { LbNode } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { addressToBytes, type IpAddress } from "#types/addr.ts";
import { addr16 } from "./addr16.ts";

/**
 * Tells the programs which addresses of this node stand in for callers of remote backends. Without an address of a family, such calls
 * are dropped (167).
 */
export function writeLbNode(
  map: BpfMap<number, LbNode>,
  node: {
    readonly ipv4: IpAddress | undefined;
    readonly ipv6: IpAddress | undefined;
    /** Sources that a pod sees when it reaches itself by a service. */
    readonly loopback: { readonly ipv4: IpAddress; readonly ipv6: IpAddress };
    readonly netnsCookie: bigint;
  },
): void {
  const bytes = (address: IpAddress | undefined) => addr16(address === undefined ? new Uint8Array(16) : addressToBytes(address));
  map.set(0, {
    ipv4: bytes(node.ipv4),
    ipv6: bytes(node.ipv6),
    loopbackIpv4: bytes(node.loopback.ipv4),
    loopbackIpv6: bytes(node.loopback.ipv6),
    netnsCookie: node.netnsCookie,
  });
}
