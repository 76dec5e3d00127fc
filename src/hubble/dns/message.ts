import { addressFromBytes } from "#types/addr.ts";

/** A DNS message as far as a packet capture has it. */
export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  readonly rcode: number;
  /** With the trailing dot. */
  readonly query: string;
  readonly qtype: string;
  readonly ips: readonly string[];
  readonly cnames: readonly string[];
  readonly rrtypes: readonly string[];
  /** The smallest of the captured answers' seconds; undefined without any. */
  readonly ttl: number | undefined;
  /** How many answers the message has, captured or not. */
  readonly answers: number;
}

const TYPES: Readonly<Record<number, string>> = {
  1: "A",
  2: "NS",
  5: "CNAME",
  6: "SOA",
  12: "PTR",
  15: "MX",
  16: "TXT",
  28: "AAAA",
  33: "SRV",
  64: "SVCB",
  65: "HTTPS",
  255: "ANY",
};
const CLASS_IN = 1;
const HEADER = 12;
const MAX_NAME = 255;

/** A place in the message; reading past the captured end gives undefined everywhere. */
interface Cursor {
  at: number;
}

/**
 * Reads a DNS message (RFC 1035) of one question. Answers that were not captured whole are left out. Undefined for what is no DNS;
 * never throws.
 */
export function parseDns(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint16(2);
  const opcode = (flags >> 11) & 15;
  if (view.getUint16(4) !== 1 || opcode !== 0) return undefined;
  const cursor = { at: HEADER };
  const query = readName(bytes, cursor);
  if (query === undefined || cursor.at + 4 > bytes.length || view.getUint16(cursor.at + 2) !== CLASS_IN) return undefined;
  const qtype = typeName(view.getUint16(cursor.at));
  cursor.at += 4;
  const answers = view.getUint16(6);
  return {
    id: view.getUint16(0),
    response: (flags & 0x8000) !== 0,
    rcode: flags & 15,
    query,
    qtype,
    answers,
    ...readAnswers(bytes, view, cursor, answers),
  };
}

function typeName(type: number): string {
  return TYPES[type] ?? `TYPE${type}`;
}

function readAnswers(
  bytes: Uint8Array,
  view: DataView,
  cursor: Cursor,
  count: number,
): Pick<DnsMessage, "ips" | "cnames" | "rrtypes" | "ttl"> {
  const records: DnsRecord[] = [];
  for (let i = 0; i < count; i++) {
    const record = readRecord(bytes, view, cursor);
    if (record === undefined) break;
    records.push(record);
  }
  return {
    ips: records.flatMap(({ ip }) => (ip === undefined ? [] : [ip])),
    cnames: records.flatMap(({ cname }) => (cname === undefined ? [] : [cname])),
    rrtypes: [...new Set(records.map(({ type }) => type))],
    ttl: records.length === 0 ? undefined : Math.min(...records.map(({ seconds }) => seconds)),
  };
}

interface DnsRecord {
  readonly type: string;
  readonly seconds: number;
  readonly ip: string | undefined;
  readonly cname: string | undefined;
}

function readRecord(bytes: Uint8Array, view: DataView, cursor: Cursor): DnsRecord | undefined {
  if (readName(bytes, cursor) === undefined || cursor.at + 10 > bytes.length) return undefined;
  const type = typeName(view.getUint16(cursor.at));
  const seconds = view.getUint32(cursor.at + 4);
  const start = cursor.at + 10;
  const end = start + view.getUint16(cursor.at + 8);
  if (end > bytes.length) return undefined;
  cursor.at = end;
  const isAddress = (type === "A" && end - start === 4) || (type === "AAAA" && end - start === 16);
  const ip = isAddress ? addressFromBytes(bytes.subarray(start, end)) : undefined;
  return { type, seconds, ip, cname: type === "CNAME" ? readName(bytes, { at: start }) : undefined };
}

const POINTER = 0xc0;

/** A name in lower case with the trailing dot. Moves the cursor behind it. */
function readName(bytes: Uint8Array, cursor: Cursor): string | undefined {
  const labels: string[] = [];
  let length = 0;
  for (let at = cursor.at, end: number | undefined; ; ) {
    const size = bytes[at];
    if (size === 0) {
      cursor.at = end ?? at + 1;
      return `${labels.join(".")}.`;
    }
    if (size === undefined) return undefined;
    if (size >= POINTER) {
      const target = pointerAt(bytes, at);
      if (target === undefined) return undefined;
      end ??= at + 2;
      at = target;
      continue;
    }
    length += size + 1;
    if (size > 63 || length > MAX_NAME || at + 1 + size > bytes.length) return undefined;
    labels.push(labelText(bytes.subarray(at + 1, at + 1 + size)));
    at += 1 + size;
  }
}

/** Where a compression pointer points: backwards only, so that every name ends. */
function pointerAt(bytes: Uint8Array, at: number): number | undefined {
  const [high, low] = [bytes[at], bytes[at + 1]];
  if (high === undefined || low === undefined) return undefined;
  const target = ((high & 0x3f) << 8) | low;
  return target < at ? target : undefined;
}

/** Bytes that are no name characters as `\DDD`, as in zone files. */
function labelText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    text += /[-_a-zA-Z0-9*]/.test(char) ? char.toLowerCase() : `\\${String(byte).padStart(3, "0")}`;
  }
  return text;
}
