import type { Ethernet, IP, Layer4 } from "#api/gen/flow/flow_pb.ts";
import type { Packet } from "#packet/headers.ts";
import { parsePacket } from "#packet/parse.ts";
import { hasPorts, protocolNumber } from "#types/proto.ts";
import { share } from "../wire/encoder.ts";
import { layer4Of } from "./layer4.ts";
import { ipMessage } from "./messages.ts";
import { layer4Summary } from "./summary.ts";

/** What a flow has of its packet's headers. */
export interface PacketHeaders {
  readonly ethernet: Ethernet | undefined;
  readonly ip: IP | undefined;
  readonly l4: Layer4 | undefined;
  readonly summary: string;
  /** IP protocol number; 0 without. */
  readonly protocol: number;
  /** Destination port, or the ICMP type; 0 without. */
  readonly port: number;
}

interface Known {
  /** The packet up to the ports or the TCP flags. */
  readonly bytes: Uint8Array;
  readonly ipAt: number;
  readonly transport: number;
  readonly headers: PacketHeaders;
}

/** Power of two. */
const KEPT = 2048;
const IPV4_WITHOUT_OPTIONS = 0x45;
/** Of a transport header: up to the TCP flags. */
const KEY_BYTES = 14;

/**
 * Reads headers. Packets of a connection with the same TCP flags get the same messages, made once and encoded once; the reader keeps as many
 * as it has places, each for the last connection that fell on it.
 */
export function createHeaderReader(): (packet: Uint8Array, link: "ethernet" | "ip") => PacketHeaders {
  const known: (Known | undefined)[] = Array.from({ length: KEPT }, () => undefined);
  return (packet, link) => {
    const ipAt = link === "ip" ? 0 : 14;
    const transport = transportAt(packet, ipAt);
    if (transport === 0) return headersOf(parsePacket(packet, { link }));
    const place = placeOf(packet, ipAt, transport);
    const found = known[place];
    if (found?.ipAt === ipAt && found.transport === transport && isSame(found.bytes, packet, ipAt, transport)) return found.headers;
    const headers = headersOf(parsePacket(packet, { link }));
    known[place] = { bytes: packet.slice(0, transport + KEY_BYTES), ipAt, transport, headers };
    return headers;
  };
}

function headersOf(packet: Packet): PacketHeaders {
  const { ethernet, ip, tcp, udp, sctp, icmp } = packet;
  const l4 = layer4Of(packet);
  return {
    ethernet: ethernet && share<Ethernet>({ $typeName: "flow.Ethernet", source: ethernet.source, destination: ethernet.destination }),
    ip: ip && share(ipMessage(ip.source, ip.destination)),
    l4: l4 && share(l4),
    summary: layer4Summary(l4),
    protocol: ip?.protocol ?? 0,
    port: (tcp ?? udp ?? sctp)?.destinationPort ?? icmp?.type ?? 0,
  };
}

/** Where TCP or UDP begins in a packet that is whole and has neither options, extension headers nor fragments; 0 for any other. */
function transportAt(bytes: Uint8Array, ipAt: number): number {
  const first = bytes[ipAt] ?? 0;
  if (first === IPV4_WITHOUT_OPTIONS) {
    const isFragment = (uint16(bytes, ipAt + 6) & 0x3fff) !== 0;
    return isFragment ? 0 : wholeAt(bytes, ipAt + 20, bytes[ipAt + 9] ?? 0, uint16(bytes, ipAt + 2) - 20);
  }
  return first >> 4 === 6 ? wholeAt(bytes, ipAt + 40, bytes[ipAt + 6] ?? 0, uint16(bytes, ipAt + 4)) : 0;
}

function wholeAt(bytes: Uint8Array, at: number, protocol: number, length: number): number {
  const needed = protocol === protocolNumber.TCP ? 20 : 8;
  return hasPorts(protocol) && protocol !== protocolNumber.SCTP && length >= needed && bytes.length >= at + needed ? at : 0;
}

function placeOf(bytes: Uint8Array, ipAt: number, transport: number): number {
  const ports = Math.imul(uint16(bytes, transport) * 0x10000 + uint16(bytes, transport + 2), 0x9e3779b1);
  const destination = Math.imul(uint16(bytes, transport - 2), 0x85ebca6b);
  const source = Math.imul(uint16(bytes, transport - 6), 0xc2b2ae35);
  const flags = bytes[protocolAt(ipAt, transport)] === protocolNumber.TCP ? (bytes[transport + 13] ?? 0) : 0;
  const hash = ports ^ destination ^ source ^ Math.imul(flags, 0x27d4eb2f);
  return (hash ^ (hash >>> 15)) & (KEPT - 1);
}

/** Whether all is the same that headers are made of: Ethernet, version, protocol, addresses, ports and TCP flags. */
function isSame(known: Uint8Array, packet: Uint8Array, ipAt: number, transport: number): boolean {
  for (let at = 0; at <= ipAt; at++) if (known[at] !== packet[at]) return false;
  const protocol = protocolAt(ipAt, transport);
  if (known[protocol] !== packet[protocol]) return false;
  const addressesAt = transport - (protocol - ipAt === 9 ? 8 : 32);
  for (let at = addressesAt; at < transport + 4; at++) if (known[at] !== packet[at]) return false;
  return packet[protocol] !== protocolNumber.TCP || known[transport + 13] === packet[transport + 13];
}

function protocolAt(ipAt: number, transport: number): number {
  return ipAt + (transport - ipAt === 20 ? 9 : 6);
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
