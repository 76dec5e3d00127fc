import type { IpAddress, IpFamily } from "#types/addr.ts";
import { addressFamily, addressToBytes } from "#types/addr.ts";

/** The Internet checksum (RFC 1071) over the parts as if they were one run of bytes. Parts but the last must have even length. */
export function internetChecksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** The bytes an address has on the wire: 4 or 16. */
export function wireAddress(address: IpAddress): Uint8Array {
  const bytes = addressToBytes(address);
  return addressFamily(address) === 4 ? bytes.subarray(12) : bytes;
}

/** Checksum of a TCP, UDP, ICMPv6 or ICMP segment whose checksum field is zero; ICMP for IPv4 has no pseudo header. */
export function transportChecksum(
  ip: { readonly family: IpFamily; readonly source: IpAddress; readonly destination: IpAddress },
  protocol: number,
  segment: Uint8Array,
): number {
  if (protocol === 1) return internetChecksum(segment);
  const tail = new Uint8Array(ip.family === 4 ? 4 : 8);
  const view = new DataView(tail.buffer);
  if (ip.family === 4) {
    view.setUint8(1, protocol);
    view.setUint16(2, segment.length);
  } else {
    view.setUint32(0, segment.length);
    view.setUint8(7, protocol);
  }
  return internetChecksum(wireAddress(ip.source), wireAddress(ip.destination), tail, segment);
}
