import { isIPv4, isIPv6 } from "node:net";

/** 4 or 16 bytes of an address in text form, IPv4 tails (`::ffff:10.0.0.1`) included. Throws for anything else. */
export function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  if (!isIPv6(text) || text.includes("%")) throw new TypeError(`"${text}" is not an IP address`);
  const [head = "", tail] = text.split("::");
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const middle = new Array<number>(16 - front.length - back.length).fill(0);
  return Buffer.from([...front, ...middle, ...back]);
}

function groups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** Text of 4 or 16 address bytes, IPv6 as RFC 5952 writes it. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const words = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const { start, length } = longestZeros(words);
  const hex = words.map((word) => word.toString(16));
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

function longestZeros(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  words.forEach((word, i) => {
    if (word !== 0) start = i + 1;
    else if (i + 1 - start > best.length) best = { start, length: i + 1 - start };
  });
  return best;
}

/** struct sockaddr_in or sockaddr_in6. */
export function encodeSockaddr(host: string, port: number): Buffer {
  const address = addressBytes(host);
  const four = address.length === 4;
  const out = Buffer.alloc(four ? 16 : 28);
  out.writeUInt16LE(four ? 2 : 10, 0);
  out.writeUInt16BE(port, 2);
  address.copy(out, four ? 4 : 8);
  return out;
}
