import { buildPacket, type PacketSpec } from "#packet/build.ts";
import { TcpFlag } from "#packet/headers.ts";
import type { IpAddress } from "#types/addr.ts";

/** The words the cases are written in: two families, a few protocols, a few far addresses. */
export type Family = "ipv4" | "ipv6";
export const families: readonly Family[] = ["ipv4", "ipv6"];

export const [ICMP, TCP, UDP, ICMPV6, SCTP] = [1, 6, 17, 58, 132];
/** Identities of the cases. */
export const [CLIENT, SERVER, OTHER] = [10001, 10002, 10003];
export const [HOST, WORLD] = [1, 2];

export interface Place {
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
}

const place = (ipv4: string, ipv6: string): Place => ({ ipv4: ipv4 as IpAddress, ipv6: ipv6 as IpAddress });

/** A pod of another node, that node, this node, an address out of the cluster. */
export const remotePod = place("10.244.2.30", "fd00:10:244:2::30");
export const remoteNode = place("172.18.0.3", "fd00:172:18::3");
export const thisNode = place("172.18.0.2", "fd00:172:18::2");
export const outside = place("198.51.100.7", "2001:db8::7");

/** Numbers of a family's ICMP. */
export const icmpOf = {
  ipv4: { protocol: ICMP, request: 8, reply: 0, unreachable: 3, tooBig: 3, timeExceeded: 11 },
  ipv6: { protocol: ICMPV6, request: 128, reply: 129, unreachable: 1, tooBig: 2, timeExceeded: 3 },
} as const;

function between(from: Place, to: Place, family: Family): PacketSpec["ip"] {
  return { source: from[family], destination: to[family] };
}

/** A TCP segment; a SYN unless `flags` says otherwise. */
export function tcp(from: Place, to: Place, family: Family, ports: readonly [number, number], flags: number = TcpFlag.syn): PacketSpec {
  return { ip: between(from, to, family), tcp: { sourcePort: ports[0], destinationPort: ports[1], flags } };
}

export function udp(from: Place, to: Place, family: Family, ports: readonly [number, number]): PacketSpec {
  return { ip: between(from, to, family), udp: { sourcePort: ports[0], destinationPort: ports[1] }, payload: "data" };
}

export function sctp(from: Place, to: Place, family: Family, ports: readonly [number, number]): PacketSpec {
  return { ip: between(from, to, family), sctp: { sourcePort: ports[0], destinationPort: ports[1] } };
}

export function icmp(from: Place, to: Place, family: Family, type: number, id = 7, payload: Uint8Array | string = "ping"): PacketSpec {
  return { ip: between(from, to, family), icmp: { type, id }, payload };
}

export const ACK = TcpFlag.ack;
export const SYN_ACK = TcpFlag.syn | TcpFlag.ack;
export const FIN_ACK = TcpFlag.fin | TcpFlag.ack;
export const RST = TcpFlag.rst;

/** A datagram in fragments, as a sender's stack would make them. */
export function fragments(whole: PacketSpec, family: Family, protocol: number, id: number, count = 3): PacketSpec[] {
  const bytes = buildPacket({ ...whole, payload: new Uint8Array(24 * count) });
  const transport = bytes.subarray(family === "ipv4" ? 20 : 40);
  return Array.from({ length: count }, (_, i): PacketSpec => {
    const last = i === count - 1;
    const payload = transport.subarray(24 * i, last ? transport.length : 24 * (i + 1));
    return { ip: { ...whole.ip, protocol, id, fragmentOffset: 24 * i, moreFragments: !last }, payload };
  });
}
