import { DebugCapturePoint, type Endpoint, type Flow, type TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import { dropReasonText, matchTypeText, observationPointText, reservedIdentityName } from "#monitor/names.ts";
import { enumName } from "../enum-names.ts";
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
  const shown = name || ip;
  if (port === 0) return options.color.host(shown);
  return options.color.host(`${shown.includes(":") ? `[${shown}]` : shown}:${options.color.port(String(port))}`);
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

/** `(ID:12345)`, `(world)` for a reserved identity, `(unknown)` without one. */
export function identityCell(endpoint: Endpoint | undefined, { color }: CellOptions): string {
  const identity = endpoint?.identity ?? 0;
  const reserved = identity === 0 ? "unknown" : reservedIdentityName(identity);
  return color.identity(`(${reserved ?? `ID:${identity}`})`);
}

const SOCK_POINTS = ["SOCK_XLATE_POINT_UNKNOWN", "pre-xlate-fwd", "post-xlate-fwd", "pre-xlate-rev", "post-xlate-rev"] as const;
const L7_KINDS = ["unknown_l7_type", "request", "response", "sample"] as const;

/** What kind of event it is, in the words of the TYPE column. */
export function typeCell(flow: Flow): string {
  if (flow.l7 !== undefined) {
    const kind = L7_KINDS[flow.l7.type] ?? String(flow.l7.type);
    const { record } = flow.l7;
    // Upstream always has a source; DNS that we see in passing has none.
    if (record.case === "dns") return `dns-${kind} ${record.value.observationSource}`.trimEnd();
    // Upstream's messages have no record for TLS, and none for what is not what it should be; the summary tells.
    const protocol = record.case ?? /^(?:not )?(TLS|HTTP|Kafka)\b/.exec(flow.Summary)?.[1]?.toLowerCase();
    return `${protocol ?? "l7"}-${kind}`;
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
      return SOCK_POINTS[flow.sockXlatePoint] ?? String(flow.sockXlatePoint);
    case EVENT_TYPE.capture:
      return enumName(DebugCapturePoint, flow.debugCapturePoint);
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
