import { DebugCapturePoint, type Endpoint, type Flow, type Policy, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
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
  if (flow.IP === undefined) return flow.ethernet === undefined ? "" : options.color.host(escapeTerminal(flow.ethernet[end]));
  const port = portsOf(flow.l4)[end];
  const shown = escapeTerminal((options.numeric ? "" : nameOf(flow, end)) || flow.IP[end]);
  if (port === 0) return options.color.host(shown);
  return options.color.host(`${/[:%]/.test(shown) ? `[${shown}]` : shown}:${options.color.port(String(port))}`);
}

function nameOf(flow: Flow, end: "source" | "destination"): string {
  const endpoint = flow[end];
  const service = end === "source" ? flow.sourceService : flow.destinationService;
  const name = endpoint?.podName || service?.name;
  // Where there is a service, its namespace counts for the pod too, as upstream's clients have it.
  if (name) return qualified(service?.namespace ?? endpoint?.namespace ?? "", name);
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
    if (record.case === "dns") return `dns-${kind} ${record.value.observationSource}`;
    // Upstream's messages have no record for TLS, and none for what is not what it should be; the summary tells.
    const protocol = record.case ?? /^(?:not (?=\w+:)|(?=TLS ))(TLS|HTTP|Kafka)\b/.exec(flow.Summary)?.[1]?.toLowerCase();
    return `${protocol ?? "l7"}-${kind}`;
  }
  // A byte in the datapath.
  const subType = (flow.eventType?.subType ?? 0) & 0xff;
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
  return TRAFFIC_DIRECTIONS[direction] ?? String(direction);
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

/** The verdict; for policy verdicts in the words ALLOWED, DENIED and AUDITED, with the policies' names if wanted. Upstream's words. */
export function verdictCell(flow: Flow, options: CellOptions): string {
  const isPolicy = flow.eventType?.type === EVENT_TYPE["policy-verdict"];
  const name = VERDICTS[flow.verdict] ?? String(flow.verdict);
  const word = isPolicy ? POLICY_WORDS[flow.verdict] : undefined;
  const policies = word !== undefined && options.policyNames ? policyNames(decidedBy(flow, word)) : "";
  return options.color.verdict(`${word ?? name}${policies}`, flow.verdict);
}

/** The policies of the end that decided. */
function decidedBy(flow: Flow, word: string): readonly Policy[] {
  const { INGRESS, EGRESS } = TrafficDirection;
  const { trafficDirection } = flow;
  if (word === "ALLOWED")
    return trafficDirection === EGRESS ? flow.egressAllowedBy : trafficDirection === INGRESS ? flow.ingressAllowedBy : [];
  if (word === "DENIED")
    return trafficDirection === EGRESS ? flow.egressDeniedBy : trafficDirection === INGRESS ? flow.ingressDeniedBy : [];
  return [];
}

function policyNames(policies: readonly Policy[]): string {
  const known = policies.filter(({ kind, name }) => kind !== "" && name !== "");
  return known.length === 0 ? "" : ` BY ${known.map(({ name, kind }) => `${name} (${kind})`).join(", ")}`;
}
