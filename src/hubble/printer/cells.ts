import { type Endpoint, type Flow, type TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import { dropReasonText, matchTypeText, observationPointText, reservedIdentityName } from "#monitor/names.ts";
import { EVENT_TYPE } from "../event-types.ts";
import { portsOf } from "../parser/layer4.ts";
import type { Colorer } from "./color.ts";
import { escapeTerminal } from "./escape.ts";

export interface CellOptions {
  /** Addresses instead of names. */
  readonly numeric: boolean;
  /** Append the policies' names to ALLOWED and DENIED. */
  readonly policyNames: boolean;
  readonly color: Colorer;
}

/** One end of a flow: `ns/pod:port`, `ns/service:port`, DNS names or the address. */
export function hostCell(flow: Flow, end: "source" | "destination", options: CellOptions): string {
  const ip = flow.IP?.[end] ?? "";
  const port = portsOf(flow.l4)[end];
  if (ip === "") return options.color.host(escapeTerminal(flow.ethernet?.[end] ?? ""));
  const name = options.numeric ? "" : escapeTerminal(nameOf(flow, end));
  const shown = name === "" && ip.includes(":") && port !== 0 ? `[${ip}]` : name || ip;
  return port === 0 ? options.color.host(shown) : `${options.color.host(shown)}:${options.color.port(String(port))}`;
}

function nameOf(flow: Flow, end: "source" | "destination"): string {
  const endpoint = flow[end];
  if (endpoint !== undefined && endpoint.podName !== "") return qualified(endpoint.namespace, endpoint.podName);
  const service = end === "source" ? flow.sourceService : flow.destinationService;
  if (service !== undefined && service.name !== "") return qualified(service.namespace, service.name);
  return (end === "source" ? flow.sourceNames : flow.destinationNames).join(",");
}

function qualified(namespace: string, name: string): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** `(ID:12345)`, or `(world)` for a reserved identity. */
export function identityCell(endpoint: Endpoint | undefined, { color }: CellOptions): string {
  if (endpoint === undefined) return "";
  const reserved = endpoint.identity === 0 ? undefined : reservedIdentityName(endpoint.identity);
  return color.identity(`(${reserved ?? `ID:${endpoint.identity}`})`);
}

const SOCK_POINTS = ["unknown", "pre-xlate-fwd", "post-xlate-fwd", "pre-xlate-rev", "post-xlate-rev"] as const;
const L7_KINDS = ["unknown", "request", "response", "sample"] as const;

/** What kind of event it is, in the words of the TYPE column. */
export function typeCell(flow: Flow): string {
  if (flow.l7 !== undefined) {
    const kind = L7_KINDS[flow.l7.type] ?? "unknown";
    const { record } = flow.l7;
    if (record.case === "dns") return `dns-${kind} ${record.value.observationSource}`.trimEnd();
    // Upstream's messages have no record for TLS, and none for what is not what it should be; the summary tells.
    const protocol = record.case ?? /^(?:not )?(TLS|HTTP|Kafka)\b/.exec(flow.Summary)?.[1]?.toLowerCase();
    return protocol === undefined ? "unknown-l7" : `${protocol}-${kind}`;
  }
  const subType = flow.eventType?.subType ?? 0;
  switch (flow.eventType?.type) {
    case EVENT_TYPE.trace:
      return observationPointText(subType);
    case EVENT_TYPE.drop:
      return dropReasonText(subType);
    case EVENT_TYPE["policy-verdict"]:
      return `policy-verdict:${matchTypeText(flow.policyMatchType)} ${directionText(flow.trafficDirection)}`;
    case EVENT_TYPE["trace-sock"]:
      return SOCK_POINTS[subType] ?? "unknown";
    case EVENT_TYPE.capture:
      return "capture";
    default:
      return "UNKNOWN";
  }
}

function directionText(direction: TrafficDirection): string {
  return TRAFFIC_DIRECTIONS[direction] ?? "TRAFFIC_DIRECTION_UNKNOWN";
}

const TRAFFIC_DIRECTIONS = ["TRAFFIC_DIRECTION_UNKNOWN", "INGRESS", "EGRESS"] as const;
const VERDICTS = ["VERDICT_UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED"] as const;
const POLICY_WORDS: Readonly<Record<number, string>> = {
  [Verdict.FORWARDED]: "ALLOWED",
  [Verdict.REDIRECTED]: "ALLOWED",
  [Verdict.DROPPED]: "DENIED",
  [Verdict.ERROR]: "DENIED",
  [Verdict.AUDIT]: "AUDITED",
};

/** The verdict; for policy verdicts in the words ALLOWED, DENIED and AUDITED, with the policies' names if wanted. */
export function verdictCell(flow: Flow, options: CellOptions): string {
  const isPolicy = flow.eventType?.type === EVENT_TYPE["policy-verdict"];
  const name = VERDICTS[flow.verdict] ?? String(flow.verdict);
  const word = (isPolicy ? POLICY_WORDS[flow.verdict] : undefined) ?? name;
  return `${options.color.verdict(word, flow.verdict)}${options.policyNames ? policyNames(flow) : ""}`;
}

function policyNames(flow: Flow): string {
  const policies = [...flow.egressAllowedBy, ...flow.ingressAllowedBy, ...flow.egressDeniedBy, ...flow.ingressDeniedBy];
  if (policies.length === 0) return "";
  return ` BY ${policies.map(({ name, kind }) => (kind === "" ? name : `${name} (${kind})`)).join(", ")}`;
}
