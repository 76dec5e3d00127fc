import { addressFamily, type IpAddress } from "#types/addr.ts";
import { type MacAddress, macFromBytes, macToBytes } from "#types/mac.ts";
import { protocolNumber } from "#types/proto.ts";
import { internetChecksum, transportChecksum, wireAddress } from "./checksum.ts";
import { EtherType, TcpFlag } from "./headers.ts";

/** What `buildPacket` needs to know; everything left out gets the usual value. Numbers are in host order. */
export interface PacketSpec {
  readonly ethernet?: { readonly source?: MacAddress; readonly destination?: MacAddress; readonly etherType?: number } | undefined;
  readonly ip: {
    readonly source: IpAddress;
    readonly destination: IpAddress;
    readonly ttl?: number;
    readonly tos?: number;
    readonly id?: number;
    readonly dontFragment?: boolean;
    readonly fragmentOffset?: number;
    readonly moreFragments?: boolean;
    /** IPv4 options or IPv6 extension headers between the fixed header and the rest, as bytes. */
    readonly options?: Uint8Array;
    /** First byte of an IPv6 chain given as `options`: protocol number of its first header. */
    readonly firstHeader?: number;
    readonly protocol?: number;
  };
  readonly tcp?: {
    readonly sourcePort: number;
    readonly destinationPort: number;
    readonly flags?: number;
    readonly sequence?: number;
    readonly acknowledgement?: number;
  };
  readonly udp?: { readonly sourcePort: number; readonly destinationPort: number };
  readonly sctp?: { readonly sourcePort: number; readonly destinationPort: number };
  readonly icmp?: { readonly type: number; readonly code?: number; readonly id?: number; readonly sequence?: number };
  /** After the last header; for ICMP errors the packet they are about, for later fragments the bytes themselves. */
  readonly payload?: Uint8Array | string;
}

/** A locally administered MAC address made of a small number, for tests. */
export function macOf(n: number): MacAddress {
  return macFromBytes(Uint8Array.of(0x02, 0, 0, 0, (n >> 8) & 0xff, n & 0xff));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function tcpHeader(tcp: NonNullable<PacketSpec["tcp"]>): Uint8Array {
  const header = new Uint8Array(20);
  const at = new DataView(header.buffer);
  at.setUint16(0, tcp.sourcePort);
  at.setUint16(2, tcp.destinationPort);
  at.setUint32(4, tcp.sequence ?? 1);
  at.setUint32(8, tcp.acknowledgement ?? 0);
  at.setUint8(12, 0x50);
  at.setUint8(13, tcp.flags ?? TcpFlag.syn);
  at.setUint16(14, 0xffff);
  return header;
}

function portsHeader(ports: { readonly sourcePort: number; readonly destinationPort: number }, size: number): Uint8Array {
  const header = new Uint8Array(size);
  const at = new DataView(header.buffer);
  at.setUint16(0, ports.sourcePort);
  at.setUint16(2, ports.destinationPort);
  return header;
}

function icmpHeader(icmp: NonNullable<PacketSpec["icmp"]>): Uint8Array {
  const header = new Uint8Array(8);
  const at = new DataView(header.buffer);
  at.setUint8(0, icmp.type);
  at.setUint8(1, icmp.code ?? 0);
  at.setUint16(4, icmp.id ?? 0);
  at.setUint16(6, icmp.sequence ?? 0);
  return header;
}

interface Transport {
  readonly protocol: number;
  readonly header: Uint8Array;
  /** Where the checksum goes; undefined when the protocol's is not the Internet checksum. */
  readonly checksumAt?: number;
}

function transportOf(spec: PacketSpec, payloadLength: number): Transport {
  if (spec.tcp) return { protocol: protocolNumber.TCP, header: tcpHeader(spec.tcp), checksumAt: 16 };
  if (spec.udp) {
    const header = portsHeader(spec.udp, 8);
    new DataView(header.buffer).setUint16(4, 8 + payloadLength);
    return { protocol: protocolNumber.UDP, header, checksumAt: 6 };
  }
  if (spec.sctp) return { protocol: protocolNumber.SCTP, header: portsHeader(spec.sctp, 12) };
  if (spec.icmp) {
    const protocol = addressFamily(spec.ip.source) === 4 ? protocolNumber.ICMP : protocolNumber.ICMPv6;
    return { protocol, header: icmpHeader(spec.icmp), checksumAt: 2 };
  }
  return { protocol: spec.ip.protocol ?? 59, header: new Uint8Array(0) };
}

function ipv4Header(ip: PacketSpec["ip"], protocol: number, length: number): Uint8Array {
  const options = ip.options ?? new Uint8Array(0);
  const header = new Uint8Array(20 + options.length);
  const at = new DataView(header.buffer);
  at.setUint8(0, 0x40 | (header.length / 4));
  at.setUint8(1, ip.tos ?? 0);
  at.setUint16(2, header.length + length);
  at.setUint16(4, ip.id ?? 0);
  at.setUint16(6, (ip.dontFragment ? 0x4000 : 0) | (ip.moreFragments ? 0x2000 : 0) | ((ip.fragmentOffset ?? 0) >> 3));
  at.setUint8(8, ip.ttl ?? 64);
  at.setUint8(9, protocol);
  header.set(wireAddress(ip.source), 12);
  header.set(wireAddress(ip.destination), 16);
  header.set(options, 20);
  at.setUint16(10, internetChecksum(header));
  return header;
}

/** An IPv6 fragment header (RFC 8200 §4.5) when the packet is a fragment. */
function ipv6FragmentHeader(ip: PacketSpec["ip"], next: number): Uint8Array {
  if (!ip.moreFragments && !ip.fragmentOffset) return new Uint8Array(0);
  const header = new Uint8Array(8);
  const at = new DataView(header.buffer);
  at.setUint8(0, next);
  at.setUint16(2, (ip.fragmentOffset ?? 0) | (ip.moreFragments ? 1 : 0));
  at.setUint32(4, ip.id ?? 0);
  return header;
}

function ipv6Header(ip: PacketSpec["ip"], protocol: number, length: number): Uint8Array {
  const options = ip.options ?? new Uint8Array(0);
  const fragment = ipv6FragmentHeader(ip, protocol);
  const header = new Uint8Array(40);
  const at = new DataView(header.buffer);
  at.setUint32(0, 0x60000000 | ((ip.tos ?? 0) << 20));
  at.setUint16(4, options.length + fragment.length + length);
  at.setUint8(6, ip.firstHeader ?? (fragment.length > 0 ? 44 : protocol));
  at.setUint8(7, ip.ttl ?? 64);
  header.set(wireAddress(ip.source), 8);
  header.set(wireAddress(ip.destination), 24);
  return concat(header, options, fragment);
}

/**
 * Makes a packet with right lengths and checksums. Without `tcp`, `udp`, `sctp` or `icmp` the payload follows the IP header as it is
 * (`ip.protocol` says what it claims to be), which is how later fragments and broken packets are made.
 */
export function buildPacket(spec: PacketSpec): Uint8Array {
  const payload = typeof spec.payload === "string" ? new TextEncoder().encode(spec.payload) : (spec.payload ?? new Uint8Array(0));
  const family = addressFamily(spec.ip.source);
  const transport = transportOf(spec, payload.length);
  const segment = concat(transport.header, payload);
  if (transport.checksumAt !== undefined) {
    const sum = transportChecksum({ family, source: spec.ip.source, destination: spec.ip.destination }, transport.protocol, segment);
    new DataView(segment.buffer).setUint16(transport.checksumAt, sum);
  }
  const ipHeader = family === 4 ? ipv4Header : ipv6Header;
  const packet = concat(ipHeader(spec.ip, transport.protocol, segment.length), segment);
  if (spec.ethernet === undefined) return packet;
  const link = new Uint8Array(14);
  link.set(macToBytes(spec.ethernet.destination ?? macOf(2)), 0);
  link.set(macToBytes(spec.ethernet.source ?? macOf(1)), 6);
  new DataView(link.buffer).setUint16(12, spec.ethernet.etherType ?? (family === 4 ? EtherType.ipv4 : EtherType.ipv6));
  return concat(link, packet);
}
