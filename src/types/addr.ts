import type { Brand } from "./brand.ts";

/** An IPv4 or IPv6 address in its canonical text form (RFC 5952), so that equal addresses are equal strings. */
export type IpAddress = Brand<string, "IpAddress">;

/** The address family. */
export type IpFamily = 4 | 6;

const [ZERO, NINE, DOT] = [0x30, 0x39, 0x2e];

/** Writes the four bytes; false when the text is no IPv4 address. Go and the kernel refuse leading zeros: some readers take them as octal. */
function readIpv4(text: string, into: Uint8Array, offset: number): boolean {
  let part = 0;
  let digits = 0;
  let value = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code >= ZERO && code <= NINE) {
      if (digits > 0 && value === 0) return false;
      value = value * 10 + code - ZERO;
      digits += 1;
      if (value > 255) return false;
    } else {
      if (code !== DOT || digits === 0 || part === 4) return false;
      into[offset + part] = value;
      part += 1;
      digits = 0;
      value = 0;
    }
  }
  return part === 4;
}

const scratch = new Uint8Array(4);

function parseGroups(text: string): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".")) {
      if (i !== parts.length - 1 || !readIpv4(part, scratch, 0)) return undefined;
      const [a = 0, b = 0, c = 0, d = 0] = scratch;
      groups.push((a << 8) | b, (c << 8) | d);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "");
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "") : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  for (const [i, group] of groups.entries()) {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  }
  return bytes;
}

function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  let best = { start: -1, length: 1 };
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > best.length) best = { start: i, length: end - i };
    i = Math.max(end, i + 1);
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(":");
  if (best.start < 0) return hex(0, 8);
  return `${hex(0, best.start)}::${hex(best.start + best.length, 8)}`;
}

/** Reads an address in any legal form; an IPv4-mapped IPv6 address becomes IPv4. Undefined when it is none. */
export function parseAddress(text: string): IpAddress | undefined {
  // Text of IPv4 that is accepted is canonical.
  if (!text.includes(":")) return readIpv4(text, scratch, 0) ? (text as IpAddress) : undefined;
  const bytes = parseIpv6(text);
  return bytes === undefined ? undefined : addressFromBytes(bytes);
}

/** Reads an address that must be one; throws RangeError naming the text. */
export function IpAddress(text: string): IpAddress {
  const address = parseAddress(text);
  if (address === undefined) throw new RangeError(`"${text}" is not an IP address`);
  return address;
}

/** The family of a canonical address. */
export function addressFamily(address: IpAddress): IpFamily {
  return address.includes(":") ? 6 : 4;
}

/** Whether 16 bytes hold an IPv4 address as ::ffff:a.b.c.d. */
export function isV4Mapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** The address as the datapath has it: 16 bytes, IPv4 as ::ffff:a.b.c.d. */
export function addressToBytes(address: IpAddress): Uint8Array {
  const bytes = address.includes(":") ? parseIpv6(address) : mappedIpv4(address);
  if (bytes === undefined) throw new RangeError(`"${address}" is not an IP address`);
  return bytes;
}

function mappedIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  bytes[10] = 0xff;
  bytes[11] = 0xff;
  return readIpv4(text, bytes, 12) ? bytes : undefined;
}

/** Of the four bytes from `at` on. `join` of a typed array takes five times as long, and every packet that is looked at has two addresses. */
function formatIpv4(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** The address in 4 or 16 bytes; 16 bytes that hold a mapped IPv4 address give IPv4. Throws RangeError for other lengths. */
export function addressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return formatIpv4(bytes, 0) as IpAddress;
  if (bytes.length !== 16) throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
  return (isV4Mapped(bytes) ? formatIpv4(bytes, 12) : formatIpv6(bytes)) as IpAddress;
}
