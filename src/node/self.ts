import { CodedError } from "#runtime/errors.ts";
import { addressFamily, type IpAddress, parseAddress } from "#types/addr.ts";
import type { Prefix } from "#types/prefix.ts";
import type { ClusterNode } from "./node.ts";

/** This node as far as the kernel and the API server agree on it. */
export interface SelfNode {
  readonly name: string;
  readonly ipv4: IpAddress | undefined;
  readonly ipv6: IpAddress | undefined;
  /** The device that has the node's address and leads to the other nodes. */
  readonly device: { readonly name: string; readonly index: number; readonly mtu: number };
  readonly podCidrs: readonly Prefix[];
}

export class NodeError extends CodedError {}

interface Device {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  readonly addresses: readonly string[];
}

/**
 * Puts together who we are. Throws `NodeError` that says what is missing: a pod CIDR, or a device that has the address the
 * API server knows us by.
 */
export function resolveSelf(
  node: ClusterNode,
  devices: readonly Device[],
  config: { readonly ipv4: boolean; readonly ipv6: boolean; readonly devices: readonly string[] },
): SelfNode {
  const families = ([4, 6] as const).filter((family) => (family === 4 ? config.ipv4 : config.ipv6));
  const podCidrs = node.podCidrs.filter((prefix) => families.includes(prefix.includes(":") ? 6 : 4));
  for (const family of families) {
    if (podCidrs.some((prefix) => prefix.includes(":") === (family === 6))) continue;
    throw new NodeError("no-pod-cidr", `node ${node.name} has no IPv${family} pod CIDR yet: neither its CiliumNode nor its Node names one`);
  }
  const addresses = node.internalIps.filter((address) => families.includes(addressFamily(address)));
  const device = devices.find((one) => matches(one, addresses, config.devices));
  if (!device) {
    throw new NodeError(
      "no-device",
      `no device of this node has one of its addresses ${node.internalIps.join(", ") || "(none known)"}; name it with --devices`,
    );
  }
  const address = (family: 4 | 6) => addresses.find((one) => addressFamily(one) === family);
  const { name, index, mtu } = device;
  return { name: node.name, ipv4: address(4), ipv6: address(6), device: { name, index, mtu }, podCidrs };
}

function matches(device: Device, addresses: readonly IpAddress[], wanted: readonly string[]): boolean {
  if (wanted.length > 0) return wanted.includes(device.name);
  return device.addresses.some((text) => addresses.includes(bareAddress(text) as IpAddress));
}

/** `10.0.0.1/24` → `10.0.0.1` */
function bareAddress(text: string): IpAddress | undefined {
  return parseAddress(text.split("/")[0] ?? "");
}

/** Our own CiliumNode's spec. */
export function ciliumNodeSpec(
  self: SelfNode,
  routers: readonly IpAddress[],
): {
  addresses: { type: string; ip: string }[];
  ipam: { podCIDRs: string[] };
} {
  const internal = [self.ipv4, self.ipv6].filter((ip) => ip !== undefined).map((ip) => ({ type: "InternalIP", ip }));
  return {
    addresses: [...internal, ...routers.map((ip) => ({ type: "CiliumInternalIP", ip }))],
    ipam: { podCIDRs: self.podCidrs.map(String) },
  };
}
