import { isIP } from "node:net";

/** An address range as numbers; BigInt, so that both families are one code path. */
export interface Range {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** Reads `10.96.0.0/16` or `fd00::/112`. Throws when it is no range. */
export function parseRange(cidr: string): Range {
  const [address = "", length = ""] = cidr.split("/");
  const family = isIP(address);
  const size = family === 4 ? 32 : 128;
  const bits = Number(length);
  if ((family !== 4 && family !== 6) || !/^\d+$/.test(length) || bits > size)
    throw new Error(`${JSON.stringify(cidr)} is not an address range like 10.96.0.0/16`);
  const host = (1n << BigInt(size - bits)) - 1n;
  const first = toNumber(address) & ~host;
  return { family, first, last: first | host };
}

/** An address as a number. */
export function toNumber(address: string): bigint {
  if (isIP(address) === 4) return address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = "", tail] = address.split("::");
  const groups = (text: string) =>
    text
      .split(":")
      .filter(Boolean)
      .map((group) => BigInt(Number.parseInt(group, 16)));
  const before = groups(head);
  const after = groups(tail ?? "");
  const middle = tail === undefined ? [] : Array<bigint>(8 - before.length - after.length).fill(0n);
  return [...before, ...middle, ...after].reduce((sum, group) => sum * 65_536n + group, 0n);
}

/** A number as an address in its usual text form. */
export function toAddress(number: bigint, family: 4 | 6): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (number >> shift) & 255n).join(".");
  const groups = [112n, 96n, 80n, 64n, 48n, 32n, 16n, 0n].map((shift) => ((number >> shift) & 65_535n).toString(16));
  const zeros = [...groups.join(":").matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length)[0];
  if (!zeros) return groups.join(":");
  const text = groups.join(":");
  const head = text.slice(0, zeros.index);
  return `${head}::${text.slice(zeros.index + zeros[0].length + 1)}`;
}

/** The first usable address of a range: the API server's own service. */
export function firstAddress(cidr: string): string {
  const range = parseRange(cidr);
  return toAddress(range.first + 1n, range.family);
}
