import type { EndpointInfo, VethInfo } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { addressesOf, type Endpoint, subjectKey } from "#endpoint/endpoint.ts";
import type { SyncTarget } from "#reconciler/reconciler.ts";
import { addressToBytes } from "#types/addr.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { macToBytes } from "#types/mac.ts";
import { type Addr16, addr16, addr16OrZero } from "../addr16.ts";
import type { PolicyMaps } from "./policy.ts";

export interface EndpointKernel {
  /** cilium_lxc: pods of this node by address. */
  readonly byAddress: BpfMap<Addr16, EndpointInfo>;
  /** cilium_lxc_ifindex: what a veth is; without it nothing passes. */
  readonly byInterface: BpfMap<number, VethInfo>;
}

/**
 * Endpoints in the kernel: policy first, then what the veth is, then where to deliver; removed in reverse. An endpoint without
 * an identity has none of these, so nothing passes.
 */
export function createEndpointTarget(
  { kernel, policies }: { readonly kernel: EndpointKernel; readonly policies: PolicyMaps },
  config: { readonly isAudited: (row: Endpoint) => boolean },
): SyncTarget<Endpoint> {
  const removeEntries = (row: Endpoint) => {
    for (const address of addressesOf(row)) {
      const key = addr16(addressToBytes(address));
      // The address may be another endpoint's by now.
      if (kernel.byAddress.get(key)?.lxcId === row.id) kernel.byAddress.delete(key);
    }
    if (kernel.byInterface.get(row.interface.index)?.lxcId === row.id) kernel.byInterface.delete(row.interface.index);
  };
  const remove = (row: Endpoint) => {
    removeEntries(row);
    policies.detach(row.id);
  };
  return {
    update(row, previous) {
      const { identity } = row;
      // The number of an endpoint that went, given again before its entries could be removed.
      if (previous && previous.interface.index !== row.interface.index) removeEntries(previous);
      if (identity === undefined) {
        remove(row);
        return;
      }
      policies.attach({ id: row.id, subject: subjectKey(row), audit: config.isAudited(row) });
      kernel.byInterface.set(row.interface.index, vethInfo(row, identity));
      for (const address of addressesOf(row)) kernel.byAddress.set(addr16(addressToBytes(address)), endpointInfo(row, identity));
    },
    remove,
    prune(rows) {
      const ids = new Set<number>();
      const interfaces = new Set<number>();
      for (const row of rows) {
        ids.add(row.id);
        interfaces.add(row.interface.index);
      }
      for (const [key, { lxcId }] of [...kernel.byAddress.entries()]) if (!ids.has(lxcId)) kernel.byAddress.delete(key);
      for (const index of [...kernel.byInterface.keys()]) if (!interfaces.has(index)) kernel.byInterface.delete(index);
      policies.prune(ids);
    },
  };
}

function vethInfo(row: Endpoint, identity: NumericIdentity): VethInfo {
  return {
    lxcId: row.id,
    secId: identity,
    ipv4: addr16OrZero(row.ipv4),
    ipv6: addr16OrZero(row.ipv6),
    mac: macToBytes(row.interface.mac),
    nodeMac: macToBytes(row.interface.hostMac),
    flags: 0,
  };
}

function endpointInfo(row: Endpoint, identity: NumericIdentity): EndpointInfo {
  return {
    ifindex: row.interface.index,
    lxcId: row.id,
    secId: identity,
    mac: macToBytes(row.interface.mac),
    nodeMac: macToBytes(row.interface.hostMac),
    flags: 0,
  };
}
