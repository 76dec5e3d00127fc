import { formatTcpFlags, type Packet } from "#packet/headers.ts";
import { protocolNumber } from "#types/proto.ts";

const ICMP4: Readonly<Record<number, string>> = {
  0: "EchoReply",
  3: "DestinationUnreachable",
  4: "SourceQuench",
  5: "Redirect",
  8: "EchoRequest",
  9: "RouterAdvertisement",
  10: "RouterSolicitation",
  11: "TimeExceeded",
  12: "ParameterProblem",
  13: "TimestampRequest",
  14: "TimestampReply",
  15: "InfoRequest",
  16: "InfoReply",
  17: "AddressMaskRequest",
  18: "AddressMaskReply",
};

const UNREACHABLE4: Readonly<Record<number, string>> = {
  0: "Net",
  1: "Host",
  2: "Protocol",
  3: "Port",
  4: "FragmentationNeeded",
  5: "SourceRoutingFailed",
  6: "NetUnknown",
  7: "HostUnknown",
  9: "NetAdminProhibited",
  10: "HostAdminProhibited",
  13: "CommAdminProhibited",
};

const ICMP6: Readonly<Record<number, string>> = {
  1: "DestinationUnreachable",
  2: "PacketTooBig",
  3: "TimeExceeded",
  4: "ParameterProblem",
  128: "EchoRequest",
  129: "EchoReply",
  130: "MLDv1MulticastListenerQueryMessage",
  131: "MLDv1MulticastListenerReportMessage",
  132: "MLDv1MulticastListenerDoneMessage",
  133: "RouterSolicitation",
  134: "RouterAdvertisement",
  135: "NeighborSolicitation",
  136: "NeighborAdvertisement",
  137: "Redirect",
  143: "MLDv2MulticastListenerReportMessageV2",
};

const UNREACHABLE6: Readonly<Record<number, string>> = {
  0: "NoRouteToDst",
  1: "AdminProhibited",
  2: "BeyondScopeOfSrc",
  3: "Address",
  4: "Port",
  5: "SrcAddressFailedPolicy",
  6: "RejectRouteToDst",
};

/** `EchoRequest`, `DestinationUnreachable(Port)`, or the numbers for what has no name. */
export function icmpText(version: 4 | 6, type: number, code: number): string {
  const name = (version === 4 ? ICMP4 : ICMP6)[type];
  if (name === undefined) return `${type}(${code})`;
  if (name === "DestinationUnreachable") return `${name}(${(version === 4 ? UNREACHABLE4 : UNREACHABLE6)[code] ?? code})`;
  return code === 0 ? name : `${name}(${code})`;
}

function hostPort(ip: string, port: number | undefined): string {
  if (port === undefined) return ip;
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** A packet in one line, as the monitor prints it: `10.0.2.7:51234 -> 10.0.4.9:8080 tcp SYN`. */
export function packetText(packet: Packet): string {
  const { ip, tcp, udp, sctp, icmp, arp, ethernet } = packet;
  if (arp !== undefined) return `${arp.senderMac} -> ${arp.targetMac} ARP`;
  if (ip === undefined)
    return ethernet === undefined ? "[unknown]" : `${ethernet.source} -> ${ethernet.destination} 0x${ethernet.etherType.toString(16)}`;
  const ports = tcp ?? udp ?? sctp;
  const pair = `${hostPort(ip.source, ports?.sourcePort)} -> ${hostPort(ip.destination, ports?.destinationPort)}`;
  if (tcp !== undefined) return `${pair} tcp ${formatTcpFlags(tcp.flags)}`.trimEnd();
  if (udp !== undefined) return `${pair} udp`;
  if (sctp !== undefined) return `${pair} sctp`;
  if (icmp !== undefined) return `${pair} ${ip.family === 4 ? "icmp" : "icmpv6"} ${icmpText(ip.family, icmp.type, icmp.code)}`;
  return `${pair} ${ip.protocol === protocolNumber.IGMP ? "igmp" : `proto ${ip.protocol}`}`;
}
