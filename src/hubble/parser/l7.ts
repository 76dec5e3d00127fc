import { randomUUID } from "node:crypto";
import { type Flow, FlowType, type HTTP, type Kafka, L7FlowType, type Layer7, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import { validateFqdn } from "#fqdn/pattern.ts";
import type { L7Event } from "#monitor/events.ts";
import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import type { AccessMessage, AccessRecord, KafkaAccess, Mismatched, NearMiss, RuleOrigin, TlsAccess } from "#proxy/protocol.ts";
import { EVENT_TYPE } from "../event-types.ts";
import type { Denial, Names, PolicyNames } from "../names.ts";
import { enrichFlow, resolveEndpoint } from "./enrich.ts";
import { tcpLayer, udpLayer } from "./layer4.ts";
import { emptyFlow, ipMessage } from "./messages.ts";
import { nameAllowed, nameDenied } from "./policies.ts";
import { summaryOf } from "./summary.ts";

type Access = AccessRecord | DnsAccessMessage;

const VERDICTS = { FORWARDED: Verdict.FORWARDED, DROPPED: Verdict.DROPPED, AUDIT: Verdict.AUDIT, ERROR: Verdict.ERROR } as const;

/** A request or response at the proxy as a flow. A response goes from the server to the client. */
export function flowOfAccess(event: L7Event, names: Names): Flow {
  const { access } = event;
  const response = access.kind === "response";
  const [from, to] = response ? [access.destination, access.source] : [access.source, access.destination];
  const flow = emptyFlow(event.time);
  flow.uuid = randomUUID();
  flow.Type = FlowType.L7;
  flow.eventType = { $typeName: "flow.CiliumEventType", type: EVENT_TYPE.l7, subType: 0 };
  flow.verdict = VERDICTS[access.verdict];
  flow.isReply = response;
  flow.reply = response;
  flow.trafficDirection = access.direction === "egress" ? TrafficDirection.EGRESS : TrafficDirection.INGRESS;
  flow.IP = ipMessage(from.ip, to.ip);
  flow.l4 = access.type === "dns-access" && access.protocol === "UDP" ? udpLayer(from.port, to.port) : tcpLayer(from.port, to.port);
  flow.source = resolveEndpoint(names, { ...from, endpointId: 0 });
  flow.destination = resolveEndpoint(names, { ...to, endpointId: 0 });
  flow.l7 = layer7Of(access);
  enrichFlow(names, flow);
  nameTrace(flow, access);
  if (access.denied !== undefined) nameDenied(flow, denialOf(access));
  else if (access.origins !== undefined) nameAllowed(flow, policiesOfOrigins(access.origins, access.policyRevision));
  flow.Summary = textOf(access) ?? withError(summaryOf(flow), access);
  return flow;
}

function layer7Of(access: Access): Layer7 {
  const type = access.kind === "response" ? L7FlowType.RESPONSE : L7FlowType.REQUEST;
  const latencyNs = BigInt(Math.max(0, Math.round(access.latencyNs)));
  return {
    $typeName: "flow.Layer7",
    type,
    latencyNs,
    record: isUnreadable(access) ? { case: undefined } : recordOf(access),
  };
}

function recordOf(access: Access): Layer7["record"] {
  switch (access.type) {
    case "access":
      return { case: "http", value: httpOf(access) };
    case "kafka-access":
      return { case: "kafka", value: kafkaOf(access) };
    case "tls-access":
      // Upstream's messages have no place for it; the summary tells.
      return { case: undefined };
    case "dns-access":
      return dnsOf(access);
  }
}

function kafkaOf({ kafka }: KafkaAccess): Kafka {
  const { apiKey, apiVersion, correlationId, topic, errorCode } = kafka;
  return { $typeName: "flow.Kafka", apiKey, apiVersion, correlationId, topic, errorCode };
}

function httpOf({ http }: AccessMessage): HTTP {
  const headers = http.headers.map(({ key, value }) => ({ $typeName: "flow.HTTPHeader" as const, key, value }));
  return { $typeName: "flow.HTTP", code: http.code, method: http.method, url: http.url, protocol: http.protocol, headers };
}

function dnsOf({ dns }: DnsAccessMessage): Layer7["record"] {
  const { query, ttl, rcode } = dns;
  return {
    case: "dns",
    value: {
      $typeName: "flow.DNS",
      query,
      ips: [...dns.ips],
      ttl,
      cnames: [...dns.cnames],
      observationSource: dns.source,
      rcode,
      qtypes: [...dns.qtypes],
      rrtypes: [...dns.rrtypes],
    },
  };
}

/** What upstream's messages have no place for. */
function textOf(access: Access): string | undefined {
  if (access.type === "dns-access") return access.error && `DNS ${[access.dns.query, ...access.dns.qtypes].join(" ")}: ${access.error}`;
  if (isUnreadable(access)) return `not ${PROTOCOLS[access.type]}: ${access.error ?? ""}`;
  return access.type === "tls-access" ? tlsSummary(access) : undefined;
}

/** Why the proxy answered in the server's place, or refused what was no request. */
function withError(summary: string, access: Access): string {
  if (access.error === undefined) return summary;
  return access.type === "access" && access.http.method === ""
    ? `HTTP ${access.http.code}: ${access.error}`
    : `${summary}: ${access.error}`;
}

/** Something else than its port's rules are about, that audit mode let pass. */
function isUnreadable({ denied }: Access): boolean {
  return denied?.reason === "unreadable";
}

function tlsSummary({ tls, verdict, error }: TlsAccess): string {
  const name = tls.serverName === "" ? "no server name" : `server name ${tls.serverName}`;
  return verdict === "ERROR" ? `TLS ${error ?? ""}` : `TLS ${name}${tls.terminated ? ", inspected" : ""}`;
}

/** W3C trace context: `00-<trace id>-<span>-<flags>`. */
function nameTrace(flow: Flow, access: Access): void {
  if (access.type !== "access") return;
  const parent = access.http.headers.find(({ key }) => key.toLowerCase() === "traceparent")?.value;
  const traceId = parent?.split("-")[1];
  if (traceId === undefined || !/^[0-9a-f]{32}$/.test(traceId)) return;
  flow.traceContext = { $typeName: "flow.TraceContext", parent: { $typeName: "flow.TraceParent", traceId } };
}

function policiesOfOrigins(origins: readonly RuleOrigin[], revision: number): PolicyNames[] {
  return origins.map((origin) => policyOfOrigin(origin, revision));
}

function policyOfOrigin(origin: RuleOrigin, revision: number): PolicyNames {
  const namespace = origin.namespace ?? "";
  const prefix = "k8s:io.cilium.k8s.policy";
  const labels = [`${prefix}.derived-from=${origin.kind}`, `${prefix}.name=${origin.name}`];
  if (namespace !== "") labels.push(`${prefix}.namespace=${namespace}`);
  return { ...origin, namespace, labels, revision };
}

const KIND_LINES: Readonly<Record<Access["type"], string>> = {
  access: "no HTTP rule of these policies allows the request",
  "kafka-access": "no Kafka rule of these policies allows the request",
  "tls-access": "no server name of these policies is the one that the client asks for",
  "dns-access": "no DNS rule of these policies allows the name",
};
const PROTOCOLS: Readonly<Record<AccessRecord["type"], string>> = { access: "HTTP", "kafka-access": "Kafka", "tls-access": "TLS" };
const REASON_LINES = {
  unreadable: "enforced, these policies would refuse what is not the protocol of their rules",
  "no-policy": "the proxy has no policy for this port yet",
  "ambiguous-path": "the path can be read in several ways and not all of them are allowed",
  "header-mismatch": "a header the policy demands is missing or different",
} as const;

function denialOf(access: Access): Denial {
  const denied = access.denied;
  if (denied === undefined) return { policies: [], lines: [], nearest: [] };
  const revision = access.policyRevision;
  const first = denied.nearest[0];
  const lines: string[] = [denied.reason === "policy" ? KIND_LINES[access.type] : REASON_LINES[denied.reason]];
  if (denied.reading !== undefined) lines.push(`read as ${denied.reading} it is not allowed`);
  const fix = first === undefined ? undefined : fixOf(first, access);
  return {
    policies: policiesOfOrigins(denied.origins, revision),
    lines,
    nearest: denied.nearest.flatMap((miss) => nearMissOf(miss, revision)),
    ...(fix === undefined ? {} : { fix }),
  };
}

function nearMissOf(miss: NearMiss, revision: number): Denial["nearest"] {
  const origin = miss.origins[0];
  if (origin === undefined) return [];
  const [kind, index] = miss.kafkaIndex === undefined ? ["http", miss.httpIndex] : ["kafka", miss.kafkaIndex];
  const place = index === undefined ? "" : `${kind} rule ${index}: `;
  return [{ rule: policyOfOrigin(origin, revision), reasons: miss.mismatches.map((mismatch) => place + mismatchText(mismatch)) }];
}

function mismatchText({ field, wanted, found }: Mismatched): string {
  // Values of headers are nobody's to show: `wanted` is a name, `found` says what is wrong with it.
  if (field === "header") return `header ${wanted}: ${found}`;
  return `${field} "${found}" does not match "${wanted}"`;
}

function fixOf(miss: NearMiss, access: Access): string | undefined {
  const origin = miss.origins[0];
  if (origin === undefined) return undefined;
  const wrong = miss.mismatches.map(({ field }) => field);
  const place = `${origin.namespace ? `${origin.namespace}/` : ""}${origin.name}`;
  if (wrong.includes("identity")) return `let ${place} also select this peer`;
  if (access.type === "tls-access") {
    return access.tls.serverName === "" ? undefined : `add "${access.tls.serverName}" to the serverNames of ${place}`;
  }
  if (access.type === "dns-access") {
    const selector = selectorOf(access.dns.query);
    return selector && `add a dns rule to ${place} with ${selector}, and a toFQDNs with the same where its addresses are to be reached`;
  }
  if (access.type === "kafka-access") {
    const topic = access.kafka.topic === "" ? "" : ` and topic: "${access.kafka.topic}"`;
    return `add a kafka rule to ${place} with apiKey: "${access.kafka.apiKey}"${topic}`;
  }
  if (miss.httpIndex !== undefined && wrong.every((field) => field === "header")) {
    return `send ${miss.mismatches.map(({ wanted }) => wanted).join(" and ")} as http rule ${miss.httpIndex} of ${place} asks`;
  }
  const { url, method } = access.http;
  const reading = access.denied?.reading;
  // No rule allows what is escaped as in an attack.
  if (reading !== undefined && pathOf(reading) === pathOf(url)) return undefined;
  const rule = `add an http rule to ${place} with method: "${method}" and path: ${patternOf(reading ?? url)}`;
  return reading === undefined ? rule : `ask for ${pathOf(reading)} as it is, and ${rule}`;
}

/** The field of a rule that takes just this name: only a pattern may hold an underscore, and not every name can be written. */
function selectorOf(query: string): string | undefined {
  const name = query.toLowerCase().replace(/\.$/, "");
  if (name === "" || name.includes("*")) return undefined;
  const [field] = [{ matchName: name }, { matchPattern: name }].filter((one) => validateFqdn(one, false).length === 0).flatMap(Object.keys);
  return field && `${field}: "${name}"`;
}

const PATH = /^(?:[a-z]+:\/\/[^/]*)?(\/[^?#]*)(\?)?/;

function pathOf(url: string): string {
  return PATH.exec(url)?.[1] ?? "/";
}

/** An expression for the path, with any query if it has one, as YAML. */
function patternOf(url: string): string {
  const [, path = "/", query] = PATH.exec(url) ?? [];
  const pattern = path.replace(/[\\^$.|?*+()[\]{}]/g, "\\$&") + (query === undefined ? "" : "\\?.*");
  return pattern.includes("\\") ? `'${pattern.replaceAll("'", "''")}'` : `"${pattern}"`;
}
