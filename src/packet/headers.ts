import type { IpAddress, IpFamily } from "#types/addr.ts";
import type { MacAddress } from "#types/mac.ts";

/** EtherTypes the datapath knows (IEEE 802). */
export const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;

/** Bits of the TCP flags byte (RFC 9293 §3.1). */
export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

export interface EthernetHeader {
  readonly source: MacAddress;
  readonly destination: MacAddress;
  readonly etherType: number;
}

/** ARP for IPv4 over Ethernet (RFC 826). `operation` 1 asks, 2 answers. */
export interface ArpMessage {
  readonly operation: number;
  readonly senderMac: MacAddress;
  readonly senderIp: IpAddress;
  readonly targetMac: MacAddress;
  readonly targetIp: IpAddress;
}

/** What IPv4 and IPv6 have in common. For IPv6 `protocol` is what follows the extension headers. */
export interface IpHeader {
  readonly family: IpFamily;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  /** TTL or hop limit. */
  readonly ttl: number;
  /** Type of service or traffic class. */
  readonly tos: number;
  /** Bytes of the whole IP packet as its header says, which a capture may not hold. */
  readonly totalLength: number;
  /** Bytes of header: IPv4 with options, IPv6 with extension headers. */
  readonly headerLength: number;
  /** Identification: IPv4's, or of the IPv6 fragment header; 0 without one. */
  readonly id: number;
  readonly dontFragment: boolean;
  /** Bytes of the original packet before this fragment; 0 in the first and in whole packets. */
  readonly fragmentOffset: number;
  readonly moreFragments: boolean;
}

export interface TcpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Sum of `TcpFlag` bits. */
  readonly flags: number;
  readonly window: number;
}

export interface UdpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** As the header says. */
  readonly length: number;
}

export interface SctpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** ICMP of either family. */
export interface IcmpHeader {
  readonly type: number;
  readonly code: number;
  /** Echo requests and replies only. */
  readonly id?: number | undefined;
  readonly sequence?: number | undefined;
  /** Errors only: what could be read of the packet the error is about. */
  readonly original?: Packet | undefined;
}

/** A packet, as far as it could be read. */
export interface Packet {
  readonly ethernet?: EthernetHeader | undefined;
  readonly arp?: ArpMessage | undefined;
  readonly ip?: IpHeader | undefined;
  readonly tcp?: TcpHeader | undefined;
  readonly udp?: UdpHeader | undefined;
  readonly sctp?: SctpHeader | undefined;
  readonly icmp?: IcmpHeader | undefined;
  /** Bytes after the last header that was read. */
  readonly payload: Uint8Array;
  /** Where and why reading stopped early. */
  readonly problem?: string | undefined;
}

const flagNames = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const;

/** TCP flags as Hubble prints them: `SYN, ACK`, in the order of their bits. */
export function formatTcpFlags(flags: number): string {
  return flagNames.filter((_, bit) => flags & (1 << bit)).join(", ");
}
