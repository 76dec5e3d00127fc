import type { DnsAccessMessage } from "../dns/protocol.ts";
import type { AccessMessage, AccessPeer, AccessRecord, LostMessage } from "../protocol.ts";

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

/** The record as a line of JSON. The same as `JSON.stringify`, but for requests and responses that went well several times as fast: these two are half of what a request costs. */
export function accessLine(record: AccessRecord | DnsAccessMessage | LostMessage): string {
  if (record.type === "dns-access" && record.denied === undefined) return dnsLine(record);
  if (record.type !== "access" || record.denied !== undefined || record.error !== undefined) return `${JSON.stringify(record)}\n`;
  const { time, kind, verdict, direction, endpointId, source, destination, http, policyRevision, latencyNs } = record;
  return (
    `{"type":"access","time":${time},"kind":"${kind}","verdict":"${verdict}","direction":"${direction}","endpointId":${endpointId},` +
    `"source":${shared(source)},"destination":${shared(destination)},"http":${httpText(http)},` +
    `"policyRevision":${policyRevision},"latencyNs":${latencyNs}${more(record)}}\n`
  );
}

function dnsLine({ time, kind, verdict, direction, endpointId, protocol, source, destination, dns, ...rest }: DnsAccessMessage): string {
  const { latencyNs, policyRevision, origins } = rest;
  const { query, qtypes, rcode, ips, ttl, cnames, rrtypes } = dns;
  return (
    `{"type":"dns-access","time":${time},"kind":"${kind}","verdict":"${verdict}","direction":"${direction}","endpointId":${endpointId},` +
    `"protocol":"${protocol}","source":${peer(source)},"destination":${peer(destination)},` +
    `"dns":{"query":${JSON.stringify(query)},"qtypes":${list(qtypes)},"rcode":${rcode},"ips":${list(ips)},"ttl":${ttl},` +
    `"cnames":${list(cnames)},"rrtypes":${list(rrtypes)},"source":"${dns.source}"},"latencyNs":${latencyNs},` +
    `${origins === undefined ? "" : `"origins":${shared(origins)},`}"policyRevision":${policyRevision}}\n`
  );
}

/** Made anew for each question, so it is not worth remembering. */
function peer({ ip, port, identity }: AccessPeer): string {
  return `{"ip":"${ip}","port":${port},"identity":${identity}}`;
}

function list(texts: readonly string[]): string {
  return texts.length === 0 ? "[]" : JSON.stringify(texts);
}

function more({ origins, missingHeaders }: AccessMessage): string {
  const first = origins === undefined ? "" : `,"origins":${shared(origins)}`;
  return missingHeaders === undefined ? first : `${first},"missingHeaders":${JSON.stringify(missingHeaders)}`;
}

function httpText({ method, url, protocol, code, headers }: AccessMessage["http"]): string {
  let list = "";
  for (const { key, value } of headers) list += `${list === "" ? "" : ","}{"key":"${key}","value":${JSON.stringify(value)}}`;
  return `{"method":"${method}","url":${JSON.stringify(url)},"protocol":"${protocol}","code":${code},"headers":[${list}]}`;
}
