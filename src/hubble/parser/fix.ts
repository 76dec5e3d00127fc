import { formatProtocol, protocolNumber } from "#types/proto.ts";
import type { DenialQuestion, Names, PolicyNames } from "../names.ts";

const NAMESPACE = "k8s:io.kubernetes.pod.namespace";
const GENERATED = /^k8s:(io\.cilium\.|io\.kubernetes\.pod\.namespace$)/;

/**
 * What would allow the denied traffic, as a rule to copy: who, on which port. A deny rule has to go first, so then that is said.
 * Undefined when the remote end is unknown.
 */
export function suggestFix(names: Names, question: DenialQuestion, denyRules: readonly PolicyNames[]): string | undefined {
  const [deny] = denyRules;
  if (deny !== undefined) {
    const place = deny.namespace === "" ? deny.name : `${deny.namespace}/${deny.name}`;
    return `narrow or remove ${deny.section ?? "the deny rule"}${deny.index === undefined ? "" : `[${deny.index}]`} of ${place}: a deny beats every allow`;
  }
  const own = names.endpointById(question.endpointId);
  const peer = peerOf(names.identityLabels(question.remoteIdentity), question.direction, own?.namespace);
  if (peer === undefined) return undefined;
  return `allow it with ${question.direction}: [{${[peer, portsOf(question)].filter((part) => part !== "").join(", ")}}]`;
}

function peerOf(labels: readonly string[], direction: DenialQuestion["direction"], ownNamespace: string | undefined): string | undefined {
  const way = direction === "ingress" ? "from" : "to";
  const values = (source: string) => labels.flatMap((label) => (label.startsWith(`${source}:`) ? [label.slice(source.length + 1)] : []));
  const [fqdn] = values("fqdn");
  if (fqdn !== undefined && direction === "egress") return `toFQDNs: [{${fqdn.includes("*") ? "matchPattern" : "matchName"}: "${fqdn}"}]`;
  const [cidr] = values("cidr");
  if (cidr !== undefined) return `${way}CIDR: ["${cidr}"]`;
  const [entity] = values("reserved");
  if (entity !== undefined) return `${way}Entities: [${entity}]`;
  const wanted = selectorLabels(labels, ownNamespace);
  return wanted.length === 0 ? undefined : `${way}Endpoints: [{matchLabels: {${wanted.join(", ")}}}]`;
}

/** The labels people gave, and the namespace when it is another one. */
function selectorLabels(labels: readonly string[], ownNamespace: string | undefined): string[] {
  return labels.flatMap((label) => {
    const equals = label.indexOf("=");
    const key = equals < 0 ? label : label.slice(0, equals);
    const value = equals < 0 ? "" : label.slice(equals + 1);
    if (key === NAMESPACE) return value === ownNamespace ? [] : [`"${key}": "${value}"`];
    return key.startsWith("k8s:") && !GENERATED.test(key) ? [`"${key.slice(4)}": "${value}"`] : [];
  });
}

function portsOf({ protocol, port }: DenialQuestion): string {
  if (protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6) {
    return `icmps: [{fields: [{family: ${protocol === protocolNumber.ICMP ? "IPv4" : "IPv6"}, type: ${port}}]}]`;
  }
  return port === 0 ? "" : `toPorts: [{ports: [{port: "${port}", protocol: ${formatProtocol(protocol)}}]}]`;
}
