import { addressFamily, addressFromBytes, addressToBytes, type IpAddress, type IpFamily, parseAddress } from "./addr.ts";
import type { Brand } from "./brand.ts";

/** An address block in canonical text, host bits zero: `10.0.0.0/8`, `fd00::/64`. */
export type Prefix = Brand<string, "Prefix">;

/** The parts of a prefix; `bits` counts within the family (0 to 32 or 128). */
export type PrefixParts = { readonly address: IpAddress; readonly bits: number; readonly family: IpFamily };

function maskBytes(bytes: Uint8Array, bits: number): Uint8Array {
  return bytes.map((byte, i) => {
    const keep = Math.min(8, Math.max(0, bits - 8 * i));
    return byte & (0xff << (8 - keep)) & 0xff;
  });
}

/** Reads `address/bits`; host bits are cleared. Undefined when it is none (a bare address too). */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const family = addressFamily(address);
  // A mapped address has become IPv4, whose prefix would have another length: nobody means that.
  if (family === 4 && text.includes(":")) return undefined;
  const bits = Number(length);
  return bits > (family === 4 ? 32 : 128) ? undefined : prefixOf(address, bits);
}

/** Reads a prefix that must be one; throws RangeError naming the text. */
export function Prefix(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new RangeError(`"${text}" is not an address block such as 10.0.0.0/8`);
  return prefix;
}

/** The block of `bits` leading bits around an address. */
export function prefixOf(address: IpAddress, bits: number): Prefix {
  const offset = addressFamily(address) === 4 ? 96 : 0;
  return `${addressFromBytes(maskBytes(addressToBytes(address), bits + offset))}/${bits}` as Prefix;
}

/** The block that holds only this address. */
export function hostPrefix(address: IpAddress): Prefix {
  return `${address}/${addressFamily(address) === 4 ? 32 : 128}` as Prefix;
}

/** Takes a prefix apart. */
export function prefixParts(prefix: Prefix): PrefixParts {
  const slash = prefix.indexOf("/");
  const address = prefix.slice(0, slash) as IpAddress;
  return { address, bits: Number(prefix.slice(slash + 1)), family: addressFamily(address) };
}

/** Whether every address of `inner` is in `outer`; blocks of different families never contain each other. */
export function prefixContains(outer: Prefix, inner: Prefix): boolean {
  const a = prefixParts(outer);
  const b = prefixParts(inner);
  if (a.family !== b.family || a.bits > b.bits) return false;
  return sameBits(addressToBytes(a.address), addressToBytes(b.address), a.family === 4 ? a.bits + 96 : a.bits);
}

/** Whether the first `bits` bits of two addresses of 16 bytes are equal. */
export function sameBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (((a[whole] ?? 0) ^ (b[whole] ?? 0)) & (0xff << (8 - rest)) & 0xff) === 0;
}

/** Whether the address is in the block. */
export function prefixHas(prefix: Prefix, address: IpAddress): boolean {
  return prefixContains(prefix, hostPrefix(address));
}

/** The two halves of a block; none of one address. */
export function prefixHalves(prefix: Prefix): readonly Prefix[] {
  const { address, bits, family } = prefixParts(prefix);
  if (bits === (family === 4 ? 32 : 128)) return [];
  const upper = Uint8Array.from(addressToBytes(address));
  const bit = family === 4 ? bits + 96 : bits;
  upper[bit >> 3] = (upper[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return [prefixOf(address, bits + 1), prefixOf(addressFromBytes(upper), bits + 1)];
}

/** The block as the datapath has it: 16 bytes and a length from 0 to 128, IPv4 mapped. */
export function prefixToBytes(prefix: Prefix): { readonly bytes: Uint8Array; readonly bits: number } {
  const { address, bits, family } = prefixParts(prefix);
  return { bytes: addressToBytes(address), bits: family === 4 ? bits + 96 : bits };
}
