import { END_BYTES } from "#sys/datagrams.ts";
import { addressFromBytes, addressToBytes, IpAddress } from "#types/addr.ts";

/**
 * Addresses as the datagrams carry them: 16 bytes, IPv4 as ::ffff:a.b.c.d. As keys of tables they are strings of these bytes: made in a fraction of the time
 * that their text takes.
 */
export type AddressKey = string;

const ADDRESS_BYTES = 16;

/** The key of the address of an end (address, then port). */
export function keyOfEnd(end: Buffer): AddressKey {
  return end.toString("latin1", 0, ADDRESS_BYTES);
}

/** Key of address and port. */
export function keyOfWholeEnd(end: Buffer): string {
  return end.toString("latin1", 0, END_BYTES);
}

export function keyOfAddress(ip: string): AddressKey {
  return Buffer.from(addressToBytes(IpAddress(ip))).toString("latin1");
}

export function ipOfEnd(end: Buffer): IpAddress {
  return addressFromBytes(end.subarray(0, ADDRESS_BYTES));
}

export function portOfEnd(end: Buffer): number {
  return end.readUInt16BE(ADDRESS_BYTES);
}

export function endOf(ip: string, port: number): Buffer {
  const end = Buffer.alloc(END_BYTES);
  end.set(addressToBytes(IpAddress(ip)));
  end.writeUInt16BE(port, ADDRESS_BYTES);
  return end;
}
