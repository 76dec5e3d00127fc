import { addressFromBytes, type IpAddress } from "#types/addr.ts";

/**
 * DNS messages (RFC 1035), read where they lie: names, counts and lengths are checked against the message's end, compression pointers go backwards only,
 * so every read ends. Nothing here throws.
 */

/** Header and question of a message with exactly one question. */
export interface DnsQuestion {
  readonly id: number;
  readonly response: boolean;
  readonly rcode: number;
  readonly truncated: boolean;
  /** In lower case with the final dot; bytes that are no name characters as `\DDD`. */
  readonly name: string;
  readonly type: number;
  /** 1 is the Internet's. */
  readonly class: number;
  /** Where the records begin. */
  readonly end: number;
  /** How many records the header promises. */
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
}

/** What the records of the answer section say. */
export interface DnsAnswers {
  /** All addresses, whoever owns them. */
  readonly ips: readonly IpAddress[];
  /** The addresses of the name that was asked, directly or by its aliases, with their seconds to live; hints of HTTPS and SVCB records too. */
  readonly own: readonly { readonly ip: IpAddress; readonly ttl: number }[];
  readonly cnames: readonly string[];
  readonly rrtypes: readonly string[];
  /** The smallest number of seconds; undefined without records. */
  readonly ttl: number | undefined;
  /** False when the section has less than the header promises: cut off, or no DNS. */
  readonly whole: boolean;
}

export const DNS_HEADER = 12;
const CLASS_IN = 1;
const RESPONSE = 0x8000;
const TRUNCATED = 0x0200;

const TYPE = { A: 1, CNAME: 5, AAAA: 28, OPT: 41, SVCB: 64, HTTPS: 65 } as const;
const TYPE_NAMES: Readonly<Record<number, string>> = {
  ...{ 1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR", 39: "DNAME" },
  ...{ 41: "OPT", 43: "DS", 46: "RRSIG", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 255: "ANY", 257: "CAA" },
};

/** The type's name, or `TYPE123`. */
export function dnsTypeName(type: number): string {
  return TYPE_NAMES[type] ?? `TYPE${type}`;
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 0x10000 + uint16(bytes, at + 2);
}

/** What is wrong with a query that `readQuestion` cannot read; undefined when it is no query at all, and nobody waits for an answer. */
export function queryFault(bytes: Uint8Array): "opcode" | "questions" | "name" | undefined {
  const flags = uint16(bytes, 2);
  if (bytes.length < DNS_HEADER || (flags & RESPONSE) !== 0) return undefined;
  if (((flags >> 11) & 15) !== 0) return "opcode";
  return uint16(bytes, 4) === 1 ? "name" : "questions";
}

/** Undefined for what is no query or answer of one question. */
export function readQuestion(bytes: Uint8Array): DnsQuestion | undefined {
  if (bytes.length < DNS_HEADER) return undefined;
  const flags = uint16(bytes, 2);
  const opcode = (flags >> 11) & 15;
  if (opcode !== 0 || uint16(bytes, 4) !== 1) return undefined;
  const name = readName(bytes, DNS_HEADER);
  if (name === undefined || name.end + 4 > bytes.length) return undefined;
  return {
    id: uint16(bytes, 0),
    response: (flags & RESPONSE) !== 0,
    rcode: flags & 15,
    truncated: (flags & TRUNCATED) !== 0,
    name: name.text,
    type: uint16(bytes, name.end),
    class: uint16(bytes, name.end + 2),
    end: name.end + 4,
    answers: uint16(bytes, 6),
    authorities: uint16(bytes, 8),
    additionals: uint16(bytes, 10),
  };
}

interface DnsRecord {
  /** Where its owner's name begins. */
  readonly owner: number;
  readonly type: number;
  /** Records of other classes have other data, and are no answer to our questions. */
  readonly isInternet: boolean;
  readonly ttl: number;
  readonly start: number;
  readonly end: number;
}

function readRecord(bytes: Uint8Array, at: number): DnsRecord | undefined {
  const fixed = skipName(bytes, at);
  if (fixed === undefined || fixed + 10 > bytes.length) return undefined;
  const start = fixed + 10;
  const end = start + uint16(bytes, fixed + 8);
  if (end > bytes.length) return undefined;
  const ttl = uint32(bytes, fixed + 4);
  const isInternet = uint16(bytes, fixed + 2) === CLASS_IN;
  // RFC 2181: with the highest bit set it means zero.
  return { owner: at, type: uint16(bytes, fixed), isInternet, ttl: ttl > 0x7fffffff ? 0 : ttl, start, end };
}

/** Reads the answer section. Addresses of other names than the one that was asked are not its `own`, nor are those of another class. */
export function readAnswers(bytes: Uint8Array, question: DnsQuestion): DnsAnswers {
  const records: DnsRecord[] = [];
  let count = 0;
  for (let at = question.end; count < question.answers; count++) {
    const record = readRecord(bytes, at);
    if (record === undefined) break;
    if (record.isInternet) records.push(record);
    at = record.end;
  }
  const aliases = aliasesOf(bytes, question, records);
  const ips: IpAddress[] = [];
  const own: { ip: IpAddress; ttl: number }[] = [];
  const types = new Set<string>();
  let ttl: number | undefined;
  for (const record of records) {
    types.add(dnsTypeName(record.type));
    ttl = ttl === undefined ? record.ttl : Math.min(ttl, record.ttl);
    const isOwn = question.class === CLASS_IN && aliases.has(ownerOf(bytes, record, question));
    for (const ip of addressesIn(bytes, record)) {
      if (record.type === TYPE.A || record.type === TYPE.AAAA) ips.push(ip);
      if (isOwn) own.push({ ip, ttl: record.ttl });
    }
  }
  const [, ...cnames] = aliases;
  return { ips, own, cnames, rrtypes: [...types], ttl, whole: count === question.answers };
}

/** Longer chains are nobody's honest answer, and resolvers follow fewer. */
const MAX_ALIASES = 32;

/** The question's name and, in order, what it is an alias of. */
function aliasesOf(bytes: Uint8Array, question: DnsQuestion, records: readonly DnsRecord[]): Set<string> {
  const names = new Set([question.name]);
  // Servers write the chain in order, but nothing makes them: as many rounds as it can have links.
  for (let grown = true; grown && names.size <= MAX_ALIASES; ) {
    grown = false;
    for (const record of records) {
      if (record.type !== TYPE.CNAME || !names.has(ownerOf(bytes, record, question))) continue;
      const target = readName(bytes, record.start)?.text;
      if (target === undefined || names.has(target)) continue;
      names.add(target);
      grown = true;
    }
  }
  return names;
}

/** The owner is nearly always a pointer to the question. */
function ownerOf(bytes: Uint8Array, { owner }: DnsRecord, question: DnsQuestion): string {
  if (bytes[owner] === 0xc0 && bytes[owner + 1] === DNS_HEADER) return question.name;
  return readName(bytes, owner)?.text ?? "";
}

function addressesIn(bytes: Uint8Array, { type, start, end }: DnsRecord): IpAddress[] {
  if (type === TYPE.A && end - start === 4) return [addressFromBytes(bytes.subarray(start, end))];
  if (type === TYPE.AAAA && end - start === 16) return [addressFromBytes(bytes.subarray(start, end))];
  return type === TYPE.HTTPS || type === TYPE.SVCB ? hintsIn(bytes, start, end) : [];
}

const HINTS: Readonly<Record<number, number>> = { 4: 4, 6: 16 };

/** ipv4hint and ipv6hint (RFC 9460) of a record whose target is its owner itself. */
function hintsIn(bytes: Uint8Array, start: number, end: number): IpAddress[] {
  if (uint16(bytes, start) === 0 || bytes[start + 2] !== 0) return [];
  const found: IpAddress[] = [];
  for (let at = start + 3; at + 4 <= end; ) {
    const size = HINTS[uint16(bytes, at)];
    const stop = at + 4 + uint16(bytes, at + 2);
    if (stop > end) break;
    for (let one = at + 4; size !== undefined && one + size <= stop; one += size)
      found.push(addressFromBytes(bytes.subarray(one, one + size)));
    at = stop;
  }
  return found;
}

/** Whether a query speaks EDNS: then its answer may carry an OPT record. */
export function hasEdns(bytes: Uint8Array, question: DnsQuestion): boolean {
  let at = question.end;
  for (let left = question.answers + question.authorities + question.additionals; left > 0; left--) {
    const record = readRecord(bytes, at);
    if (record === undefined) return false;
    if (record.type === TYPE.OPT) return true;
    at = record.end;
  }
  return false;
}

const POINTER = 0xc0;
const MAX_LABEL = 63;
const MAX_NAME = 255;

/** The name at a place, and where it ends there. */
function readName(bytes: Uint8Array, from: number): { readonly text: string; readonly end: number } | undefined {
  let text = "";
  let length = 1;
  let end: number | undefined;
  for (let at = from; ; ) {
    const size = bytes[at] ?? INVALID;
    if (size === 0) return { text: text === "" ? "." : text, end: end ?? at + 1 };
    if (size >= POINTER) {
      const target = pointerAt(bytes, at);
      if (target === undefined) return undefined;
      end ??= at + 2;
      at = target;
      continue;
    }
    length += size + 1;
    if (size > MAX_LABEL || length > MAX_NAME || at + 1 + size > bytes.length) return undefined;
    text += labelText(bytes, at + 1, at + 1 + size);
    at += size + 1;
  }
}

/** Stands for what is past the end: longer than a label may be. */
const INVALID = 64;

/** Where a compression pointer points: backwards only, so that every name ends. */
function pointerAt(bytes: Uint8Array, at: number): number | undefined {
  if (at + 1 >= bytes.length) return undefined;
  const target = uint16(bytes, at) & 0x3fff;
  return target < at ? target : undefined;
}

function labelText(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += CHARACTERS[bytes[i] as number];
  return `${text}.`;
}

/** Where the name at a place ends. */
function skipName(bytes: Uint8Array, from: number): number | undefined {
  for (let at = from; at < bytes.length; ) {
    const size = bytes[at] as number;
    if (size === 0) return at + 1;
    if (size >= POINTER) return at + 2 <= bytes.length ? at + 2 : undefined;
    if (size > MAX_LABEL) return undefined;
    at += size + 1;
  }
  return undefined;
}

/** How each byte of a label is written. */
const CHARACTERS: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  return /[-_a-zA-Z0-9*]/.test(char) ? char.toLowerCase() : `\\${String(byte).padStart(3, "0")}`;
});
