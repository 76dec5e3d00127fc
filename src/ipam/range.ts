import { addressFromBytes, addressToBytes, type IpAddress } from "#types/addr.ts";
import { type Prefix, prefixParts } from "#types/prefix.ts";

/** The usable addresses of a block, numbered from 0. Network address and (IPv4) broadcast address are left out of blocks that have them. */
export interface AddressRange {
  readonly prefix: Prefix;
  /** How many usable addresses; at most 2^24, enough for any node. */
  readonly size: number;
  at(offset: number): IpAddress;
  /** The number of an address; undefined outside the range. */
  offsetOf(address: IpAddress): number | undefined;
}

const MAX_SIZE = 2 ** 24;

export function addressRange(prefix: Prefix): AddressRange {
  const { address, bits, family } = prefixParts(prefix);
  const width = family === 4 ? 32 : 128;
  const total = 2 ** Math.min(width - bits, 30);
  const skipFirst = total > 2 ? 1 : 0;
  const skipLast = family === 4 && total > 2 ? 1 : 0;
  const size = Math.min(total - skipFirst - skipLast, MAX_SIZE);
  const base = toNumber(address) + BigInt(skipFirst);
  return {
    prefix,
    size,
    at: (offset) => fromNumber(base + BigInt(offset)),
    offsetOf(wanted) {
      const offset = toNumber(wanted) - base;
      return offset >= 0n && offset < BigInt(size) ? Number(offset) : undefined;
    },
  };
}

function toNumber(address: IpAddress): bigint {
  return BigInt(`0x${Buffer.from(addressToBytes(address)).toString("hex")}`);
}

function fromNumber(value: bigint): IpAddress {
  return addressFromBytes(Buffer.from(value.toString(16).padStart(32, "0"), "hex"));
}
