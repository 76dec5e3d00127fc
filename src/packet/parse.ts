import { addressFromBytes } from "#types/addr.ts";
import { macFromBytes } from "#types/mac.ts";
import { hasPorts, protocolNumber } from "#types/proto.ts";
import { type ArpMessage, type EthernetHeader, EtherType, type IcmpHeader, type IpHeader, type Packet } from "./headers.ts";

const IPV6_EXTENSIONS = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60 } as const;
const ECHO_TYPES = new Set(["1:8", "1:0", "58:128", "58:129"]);
const ERROR_TYPES = new Set(["1:3", "1:4", "1:5", "1:11", "1:12", "58:1", "58:2", "58:3", "58:4"]);

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function parseEthernet(bytes: Uint8Array): EthernetHeader | undefined {
  if (bytes.length < 14) return undefined;
  return {
    destination: macFromBytes(bytes.subarray(0, 6)),
    source: macFromBytes(bytes.subarray(6, 12)),
    etherType: view(bytes).getUint16(12),
  };
}

function parseArp(bytes: Uint8Array): ArpMessage | undefined {
  if (bytes.length < 28) return undefined;
  const at = view(bytes);
  if (at.getUint32(0) !== 0x00010800 || at.getUint16(4) !== 0x0604) return undefined;
  return {
    operation: at.getUint16(6),
    senderMac: macFromBytes(bytes.subarray(8, 14)),
    senderIp: addressFromBytes(bytes.subarray(14, 18)),
    targetMac: macFromBytes(bytes.subarray(18, 24)),
    targetIp: addressFromBytes(bytes.subarray(24, 28)),
  };
}

function parseIpv4(bytes: Uint8Array): IpHeader | undefined {
  if (bytes.length < 20) return undefined;
  const at = view(bytes);
  const headerLength = (at.getUint8(0) & 0x0f) * 4;
  if (at.getUint8(0) >> 4 !== 4 || headerLength < 20 || bytes.length < headerLength) return undefined;
  const fragment = at.getUint16(6);
  return {
    family: 4,
    source: addressFromBytes(bytes.subarray(12, 16)),
    destination: addressFromBytes(bytes.subarray(16, 20)),
    protocol: at.getUint8(9),
    ttl: at.getUint8(8),
    tos: at.getUint8(1),
    totalLength: at.getUint16(2),
    headerLength,
    id: at.getUint16(4),
    dontFragment: (fragment & 0x4000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    moreFragments: (fragment & 0x2000) !== 0,
  };
}

interface Ipv6Chain {
  protocol: number;
  length: number;
  id: number;
  fragmentOffset: number;
  moreFragments: boolean;
}

/** Walks the extension headers (RFC 8200 §4); undefined when they run over the end. */
function ipv6Chain(bytes: Uint8Array): Ipv6Chain | undefined {
  const at = view(bytes);
  const chain: Ipv6Chain = { protocol: at.getUint8(6), length: 40, id: 0, fragmentOffset: 0, moreFragments: false };
  const known: readonly number[] = Object.values(IPV6_EXTENSIONS);
  while (known.includes(chain.protocol)) {
    if (chain.fragmentOffset > 0) return chain;
    if (bytes.length < chain.length + 8) return undefined;
    const here = chain.length;
    let size = (at.getUint8(here + 1) + 1) * 8;
    if (chain.protocol === IPV6_EXTENSIONS.fragment) {
      size = 8;
      chain.fragmentOffset = at.getUint16(here + 2) & 0xfff8;
      chain.moreFragments = (at.getUint16(here + 2) & 1) !== 0;
      chain.id = at.getUint32(here + 4);
    } else if (chain.protocol === IPV6_EXTENSIONS.authentication) {
      size = (at.getUint8(here + 1) + 2) * 4;
    }
    chain.protocol = at.getUint8(here);
    chain.length += size;
    if (bytes.length < chain.length) return undefined;
  }
  return chain;
}

function parseIpv6(bytes: Uint8Array): IpHeader | undefined {
  if (bytes.length < 40 || (bytes[0] ?? 0) >> 4 !== 6) return undefined;
  const chain = ipv6Chain(bytes);
  if (chain === undefined) return undefined;
  const at = view(bytes);
  return {
    family: 6,
    source: addressFromBytes(bytes.subarray(8, 24)),
    destination: addressFromBytes(bytes.subarray(24, 40)),
    protocol: chain.protocol,
    ttl: at.getUint8(7),
    tos: (at.getUint16(0) >> 4) & 0xff,
    totalLength: at.getUint16(4) + 40,
    headerLength: chain.length,
    id: chain.id,
    dontFragment: true,
    fragmentOffset: chain.fragmentOffset,
    moreFragments: chain.moreFragments,
  };
}

function parseIcmp(bytes: Uint8Array, protocol: number): IcmpHeader {
  const at = view(bytes);
  const type = at.getUint8(0);
  const key = `${protocol}:${type}`;
  return {
    type,
    code: at.getUint8(1),
    ...(ECHO_TYPES.has(key) ? { id: at.getUint16(4), sequence: at.getUint16(6) } : {}),
    ...(ERROR_TYPES.has(key) ? { original: parseEmbedded(bytes.subarray(8)) } : {}),
  };
}

/** The first bytes of a packet inside an ICMP error: at least the ports (RFC 792 promises 8 bytes after the IP header). */
function parseEmbedded(bytes: Uint8Array): Packet {
  const ip = parseIpv4(bytes) ?? parseIpv6(bytes);
  if (ip === undefined) return { payload: bytes, problem: "ip: truncated" };
  const rest = bytes.subarray(ip.headerLength);
  return rest.length >= 20 || ip.protocol !== protocolNumber.TCP ? { ip, ...parseTransport(ip, rest) } : { ip, ...parsePorts(ip, rest) };
}

function parsePorts(ip: IpHeader, bytes: Uint8Array): Packet {
  if (!hasPorts(ip.protocol) || bytes.length < 8) return { payload: bytes, problem: "transport: truncated" };
  const at = view(bytes);
  const ports = { sourcePort: at.getUint16(0), destinationPort: at.getUint16(2) };
  const tcp = { ...ports, sequence: at.getUint32(4), acknowledgement: 0, flags: 0, window: 0 };
  return { tcp, payload: bytes.subarray(8), problem: "transport: truncated" };
}

function parseTcp(bytes: Uint8Array): Packet {
  const at = view(bytes);
  const size = (at.getUint8(12) >> 4) * 4;
  const tcp = {
    sourcePort: at.getUint16(0),
    destinationPort: at.getUint16(2),
    sequence: at.getUint32(4),
    acknowledgement: at.getUint32(8),
    flags: at.getUint8(13),
    window: at.getUint16(14),
  };
  if (size < 20 || size > bytes.length) return { tcp, payload: bytes.subarray(20), problem: "tcp: header length" };
  return { tcp, payload: bytes.subarray(size) };
}

const TRANSPORT_MINIMUM: Readonly<Record<number, number>> = {
  [protocolNumber.TCP]: 20,
  [protocolNumber.UDP]: 8,
  [protocolNumber.SCTP]: 12,
  [protocolNumber.ICMP]: 8,
  [protocolNumber.ICMPv6]: 4,
};

function parseTransport(ip: IpHeader, bytes: Uint8Array): Packet {
  if (ip.fragmentOffset > 0) return { payload: bytes };
  if (bytes.length < (TRANSPORT_MINIMUM[ip.protocol] ?? 0)) return { payload: bytes, problem: "transport: truncated" };
  const at = view(bytes);
  switch (ip.protocol) {
    case protocolNumber.TCP:
      return parseTcp(bytes);
    case protocolNumber.UDP:
      return {
        udp: { sourcePort: at.getUint16(0), destinationPort: at.getUint16(2), length: at.getUint16(4) },
        payload: bytes.subarray(8),
      };
    case protocolNumber.SCTP:
      return { sctp: { sourcePort: at.getUint16(0), destinationPort: at.getUint16(2) }, payload: bytes.subarray(12) };
    case protocolNumber.ICMP:
    case protocolNumber.ICMPv6:
      if (bytes.length < 8) return { icmp: { type: at.getUint8(0), code: at.getUint8(1) }, payload: bytes.subarray(4) };
      return { icmp: parseIcmp(bytes, ip.protocol), payload: bytes.subarray(8) };
    default:
      return { payload: bytes };
  }
}

function parseIp(bytes: Uint8Array): Packet {
  const ip = (bytes[0] ?? 0) >> 4 === 6 ? parseIpv6(bytes) : parseIpv4(bytes);
  if (ip === undefined) return { payload: bytes, problem: "ip: truncated or not IP" };
  // Ethernet pads short frames: what the IP header does not count is not payload.
  const end = ip.totalLength >= ip.headerLength ? Math.min(bytes.length, ip.totalLength) : bytes.length;
  return { ip, ...parseTransport(ip, bytes.subarray(ip.headerLength, end)) };
}

/** Reads the headers of a packet as far as they are whole. Never throws; `problem` says where reading stopped early. */
export function parsePacket(bytes: Uint8Array, options: { readonly link?: "ethernet" | "ip" } = {}): Packet {
  if (options.link === "ip") return parseIp(bytes);
  const ethernet = parseEthernet(bytes);
  if (ethernet === undefined) return { payload: bytes, problem: "ethernet: truncated" };
  const rest = bytes.subarray(14);
  switch (ethernet.etherType) {
    case EtherType.ipv4:
    case EtherType.ipv6:
      return { ethernet, ...parseIp(rest) };
    case EtherType.arp: {
      const arp = parseArp(rest);
      return arp === undefined ? { ethernet, payload: rest, problem: "arp: truncated" } : { ethernet, arp, payload: rest.subarray(28) };
    }
    default:
      return { ethernet, payload: rest };
  }
}
