import type { DnsAccessMessage } from "../dns/protocol.ts";
import type { AccessHttp, AccessMessage, AccessPeer, AccessRecord, LostMessage } from "../protocol.ts";

/** Parts that many records share as the same objects: the peers of a connection, the origins of a rule. */
const known = new WeakMap<object, string>();

function shared(part: object): string {
  let text = known.get(part);
  if (text === undefined) {
    text = JSON.stringify(part);
    known.set(part, text);
  }
  return text;
}

/** The text of a record without its time and latency. */
interface Line {
  readonly middle: string;
  readonly end: string;
}

/** A record once more: at another time, with another latency. */
export interface RepeatedRecord {
  readonly type: "repeated";
  readonly like: AccessMessage;
  readonly time: number;
  readonly latencyNs: number;
}

/** What HTTP/1 and HTTP/2 give. */
export type HttpRecord = AccessMessage | RepeatedRecord;

/** Of records that are repeated: made at the first repetition, kept as long as the record is. */
const lines = new WeakMap<AccessMessage, Line>();

function keptLine(record: AccessMessage): Line {
  let line = lines.get(record);
  if (line === undefined) {
    line = lineOf(record);
    lines.set(record, line);
  }
  return line;
}

/** The record as a line of JSON, its time in whole microseconds. For requests and responses that went well several times as fast as `JSON.stringify`: these two are a good part of what a request costs. */
export function accessLine(record: AccessRecord | DnsAccessMessage | LostMessage | RepeatedRecord): string {
  if (record.type === "repeated") return join(record, keptLine(record.like));
  if (record.type === "dns-access" && record.denied === undefined && record.error === undefined) return dnsLine(record);
  if (record.type !== "access" || record.denied !== undefined || record.error !== undefined) return `${JSON.stringify(record)}\n`;
  return join(record, lineOf(record));
}

function join({ time, latencyNs }: Pick<AccessMessage, "time" | "latencyNs">, { middle, end }: Line): string {
  return `{"type":"access","time":${timeText(time)},${middle}${latencyNs}${end}`;
}

const THOUSANDTHS = Array.from({ length: 1000 }, (_, n) => `.${String(n).padStart(3, "0")}`);
let [lastMs, lastMsText] = [0, "0"];

/** Of a time in milliseconds. A number with fractions is slow to write, and most records have the milliseconds of the one before. */
function timeText(time: number): string {
  const ms = Math.floor(time);
  if (ms !== lastMs) [lastMs, lastMsText] = [ms, String(ms)];
  return lastMsText + THOUSANDTHS[Math.floor((time - ms) * 1000)];
}

function lineOf(record: AccessMessage): Line {
  const { kind, verdict, direction, endpointId, source, destination, http, policyRevision } = record;
  const middle =
    `"kind":"${kind}","verdict":"${verdict}","direction":"${direction}","endpointId":${endpointId},` +
    `"source":${shared(source)},"destination":${shared(destination)},"http":${httpText(http)},` +
    `"policyRevision":${policyRevision},"latencyNs":`;
  return { middle, end: `${more(record)}}\n` };
}

function dnsLine(record: DnsAccessMessage): string {
  const { time, kind, verdict, direction, endpointId, protocol, source, destination, dns, latencyNs, policyRevision, origins } = record;
  const { query, qtypes, rcode, ips, ttl, cnames, rrtypes } = dns;
  return (
    `{"type":"dns-access","time":${timeText(time)},"kind":"${kind}","verdict":"${verdict}","direction":"${direction}","endpointId":${endpointId},` +
    `"protocol":"${protocol}","source":${peer(source)},"destination":${peer(destination)},` +
    `"dns":{"query":${quoted(query)},"qtypes":${list(qtypes)},"rcode":${rcode},"ips":${list(ips)},"ttl":${ttl},` +
    `"cnames":${list(cnames)},"rrtypes":${list(rrtypes)},"source":"${dns.source}"},"latencyNs":${latencyNs},` +
    `${origins === undefined ? "" : `"origins":${shared(origins)},`}"policyRevision":${policyRevision}}\n`
  );
}

/** What JSON does not escape. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** As `JSON.stringify`, in half the time for most texts. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** Made anew for each question, so it is not worth remembering. */
function peer({ ip, port, identity }: AccessPeer): string {
  return `{"ip":"${ip}","port":${port},"identity":${identity}}`;
}

function list(texts: readonly string[]): string {
  return texts.length === 0 ? "[]" : `[${texts.map(quoted).join()}]`;
}

function more({ origins, missingHeaders }: AccessMessage): string {
  const first = origins === undefined ? "" : `,"origins":${shared(origins)}`;
  return missingHeaders === undefined ? first : `${first},"missingHeaders":${JSON.stringify(missingHeaders)}`;
}

function httpText({ method, url, protocol, code, headers }: AccessHttp): string {
  let list = "";
  for (const { key, value } of headers) list += `${list === "" ? "" : ","}{"key":"${key}","value":${quoted(value)}}`;
  return `{"method":"${method}","url":${quoted(url)},"protocol":"${protocol}","code":${code},"headers":[${list}]}`;
}
