import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { Change, Netlink } from "#netlink/netlink.ts";
import { inNetns, type Netns } from "#sys/netns.ts";
import { addressFamily, type IpAddress } from "#types/addr.ts";
import { type MacAddress, macFromBytes } from "#types/mac.ts";
import { hostPrefix } from "#types/prefix.ts";

/** An address of the pod and the router it goes through. */
export interface PodAddress {
  readonly address: IpAddress;
  readonly gateway: IpAddress;
}

export interface PodLink {
  /** Name of the node's end, `lxc` and ten hex digits. */
  readonly name: string;
  readonly index: number;
  readonly peerIndex: number;
  readonly mac: MacAddress;
  readonly hostMac: MacAddress;
}

/** The name of the node's end of a pod's veth: the same for the same attachment. */
export function hostInterfaceName(containerId: string, ifname: string): string {
  return `lxc${createHash("sha256").update(`${containerId}:${ifname}`).digest("hex").slice(0, 10)}`;
}

/** Makes the veth with its other end in the pod. Both ends are down: no packet passes before programs are attached and `openPodLink`. */
export function createPodLink(
  netlink: Netlink,
  { name, ifname, netns, mtu }: { readonly name: string; readonly ifname: string; readonly netns: Netns; readonly mtu: number },
): PodLink {
  const [mac, hostMac] = [randomMac(), randomMac()];
  const pair = netlink.createVeth({ name, mtu, mac: hostMac, up: false, peer: { name: ifname, netns, mac, mtu } });
  return { name, index: pair.index, peerIndex: pair.peerIndex, mac, hostMac };
}

/** Addresses and routes of both ends, then up. `pod` is a netlink socket inside the pod's namespace. */
export function openPodLink(
  { node, pod, netns }: { readonly node: Netlink; readonly pod: Netlink; readonly netns: Netns },
  ifname: string,
  link: PodLink,
  addresses: readonly PodAddress[],
): void {
  const { index, peerIndex, mac, hostMac } = link;
  if (addresses.some(({ address }) => addressFamily(address) === 6)) inNetns(netns, () => prepareIpv6(ifname));
  else silenceIpv6(link.name);
  node.apply([
    { set: "link", index, up: true },
    ...addresses.flatMap(({ address }): Change[] => [
      { set: "neighbour", index, address, mac },
      { set: "route", to: hostPrefix(address), index, scope: "link" },
    ]),
  ]);
  pod.apply([
    { set: "link", name: "lo", up: true },
    { set: "link", index: peerIndex, up: true },
    ...addresses.flatMap(({ address, gateway }): Change[] => [
      { set: "address", index: peerIndex, address: hostPrefix(address) },
      { set: "neighbour", index: peerIndex, address: gateway, mac: hostMac },
      { set: "route", to: hostPrefix(gateway), index: peerIndex, scope: "link" },
      { set: "route", to: defaultRouteOf(gateway), via: gateway, index: peerIndex },
    ]),
  ]);
}

/** What of `openPodLink` is no longer so in the pod, whose namespace `pod` is in; undefined when all is as it was made. */
export function podLinkFault(pod: Netlink, ifname: string, mac: MacAddress, addresses: readonly IpAddress[]): string | undefined {
  const link = pod.link(ifname);
  if (!link) return `the pod has no ${ifname}`;
  if (!link.up) return `${ifname} of the pod is down`;
  if (link.mac !== mac) return `${ifname} of the pod has the MAC address ${link.mac}, ADD gave it ${mac}`;
  const own = pod.addresses().filter(({ index }) => index === link.index);
  const lost = addresses.map(hostPrefix).find((prefix) => !own.some(({ address }) => address === prefix));
  if (lost) return `${ifname} of the pod lacks the address ${lost}`;
  const routes = pod.routes().filter(({ index }) => index === link.index);
  const unrouted = addresses.map(defaultRouteOf).find((all) => !routes.some(({ to }) => to === all));
  return unrouted && `the pod has no route to ${unrouted} through ${ifname}`;
}

const defaultRouteOf = (address: IpAddress): string => (addressFamily(address) === 4 ? "0.0.0.0/0" : "::/0");

/** Without IPv6 the kernel would still announce the device's link-local address to the pod, and each such packet would be a drop to explain. */
function silenceIpv6(device: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, "1");
  } catch {
    // A kernel without IPv6 announces nothing.
  }
}

/** A pod's address is its own by assignment: waiting for duplicates would make it unusable for a second. */
function prepareIpv6(ifname: string): void {
  for (const scope of ["all", "default", ifname]) {
    for (const [name, value] of [
      ["disable_ipv6", "0"],
      ["accept_dad", "0"],
      ["accept_ra", "0"],
    ] as const) {
      try {
        writeFileSync(`/proc/sys/net/ipv6/conf/${scope}/${name}`, value);
      } catch {
        // A kernel without IPv6 refuses the address itself, with a better message.
      }
    }
  }
}

/** A locally administered unicast address. */
function randomMac(): MacAddress {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
