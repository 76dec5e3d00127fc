import type { Brand } from "./brand.ts";

/** An Ethernet address as lower-case text, `0a:00:00:00:00:01`. */
export type MacAddress = Brand<string, "MacAddress">;

/** Every byte in two digits: each flow shows two addresses. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Reads an Ethernet address written with colons or dashes; undefined when it is none. */
export function parseMac(text: string): MacAddress | undefined {
  const lower = text.toLowerCase().replaceAll("-", ":");
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(lower) ? (lower as MacAddress) : undefined;
}

/** The six bytes of an Ethernet address. */
export function macToBytes(mac: MacAddress): Uint8Array {
  return Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
}

/** The Ethernet address in six bytes; throws RangeError when there are not six. */
export function macFromBytes(bytes: Uint8Array): MacAddress {
  if (bytes.length !== 6) throw new RangeError(`an Ethernet address has 6 bytes, not ${bytes.length}`);
  const hex = (at: number) => HEX[bytes[at] ?? 0];
  return `${hex(0)}:${hex(1)}:${hex(2)}:${hex(3)}:${hex(4)}:${hex(5)}` as MacAddress;
}
