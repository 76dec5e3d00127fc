import { type DNS, type Flow, type HTTP, type Kafka, L7FlowType, type Layer4, type Layer7, type TCPFlags } from "#api/gen/flow/flow_pb.ts";
import { icmpText } from "#monitor/packet-text.ts";

/** The text in brackets at the end of a line: `TCP Flags: SYN`, `HTTP/1.1 GET http://x/`, … */
export function summaryOf(flow: Flow): string {
  return flow.l7 === undefined ? layer4Summary(flow.l4) : layer7Summary(flow.l7);
}

const FLAG_ORDER = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"] as const;

/** `SYN, ACK`. */
export function tcpFlagsText(flags: TCPFlags): string {
  return FLAG_ORDER.filter((flag) => flags[flag]).join(", ");
}

/** That of a packet: `TCP Flags: SYN`. */
export function layer4Summary(l4: Layer4 | undefined): string {
  const protocol = l4?.protocol;
  switch (protocol?.case) {
    case "TCP":
      return protocol.value.flags === undefined ? "TCP" : `TCP Flags: ${tcpFlagsText(protocol.value.flags)}`;
    case "ICMPv4":
      return `ICMPv4 ${icmpText(4, protocol.value.type, protocol.value.code)}`;
    case "ICMPv6":
      return `ICMPv6 ${icmpText(6, protocol.value.type, protocol.value.code)}`;
    default:
      return protocol?.case ?? "";
  }
}

function layer7Summary(l7: Layer7): string {
  const response = l7.type === L7FlowType.RESPONSE;
  switch (l7.record.case) {
    case "http":
      return httpSummary(l7.record.value, response, l7.latencyNs);
    case "dns":
      return dnsSummary(l7.record.value, response);
    case "kafka":
      return kafkaSummary(l7.record.value, response, l7.latencyNs);
    default:
      return "";
  }
}

function milliseconds(latencyNs: bigint): string {
  return `${latencyNs / 1_000_000n}ms`;
}

function httpSummary(http: HTTP, response: boolean, latencyNs: bigint): string {
  if (!response) return `${http.protocol} ${http.method} ${http.url}`;
  return `${http.protocol} ${http.code} ${milliseconds(latencyNs)} (${http.method} ${http.url})`;
}

const RCODES: readonly string[] = [
  "No Error",
  "Format Error",
  "Server Failure",
  "Non-Existent Domain",
  "Not Implemented",
  "Query Refused",
  "Name Exists when it should not",
  "RR Set Exists when it should not",
  "RR Set that should exist does not",
  "Not Authorized",
  "Name not contained in zone",
];

/** A DNS response code in words. */
export function rcodeText(rcode: number): string {
  return RCODES[rcode] ?? String(rcode);
}

function dnsSummary(dns: DNS, response: boolean): string {
  const types = dns.qtypes.join(",");
  if (!response) return `DNS Query ${dns.query} ${types}`;
  const source = `${dns.observationSource.charAt(0).toUpperCase()}${dns.observationSource.slice(1)}`;
  const parts: string[] = [];
  if (dns.rcode !== 0) parts.push(`RCode: ${rcodeText(dns.rcode)}`);
  else if (dns.ips.length > 0) parts.push(`"${dns.ips.join(",")}"`);
  else if (dns.observationSource === "" && dns.ttl === 0) return `DNS Answer not captured (${dns.query} ${types})`;
  if (dns.cnames.length > 0) parts.push(`CNAMEs: "${dns.cnames.join(",")}"`);
  return `DNS Answer ${[...parts, `TTL: ${dns.ttl}`].join(" ")} (${source === "" ? "" : `${source} `}${dns.query} ${types})`;
}

function kafkaSummary(kafka: Kafka, response: boolean, latencyNs: bigint): string {
  const kind = response ? `response ${kafka.apiKey} ${milliseconds(latencyNs)}` : `request ${kafka.apiKey}`;
  const topic = kafka.topic === "" ? "" : ` topic '${kafka.topic}'`;
  return `Kafka ${kind} correlation id ${kafka.correlationId}${topic}`;
}
