import { DropReason, type Flow, L7FlowType, SCTPChunkType, Verdict } from "#api/gen/flow/flow_pb.ts";
import { matchTypeText, observationPointText } from "#monitor/names.ts";
import { icmpText } from "#monitor/packet-text.ts";
import { enumName, reasonName, verdictName } from "../enum-names.ts";
import { EVENT_TYPE } from "../event-types.ts";
import { directionText } from "./context.ts";
import { counter, type FlowHandler, type MetricDeps, passed, protocolOf } from "./kit.ts";
import { dns, http, httpV2, kafka } from "./layer7.ts";

function drop(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "drop_total", "Number of drops", { labels: ["reason", "protocol"] });
  return (flow) => {
    if (flow.verdict !== Verdict.DROPPED) return;
    count(flow, { reason: reasonName(flow.dropReasonDesc || flow.dropReason), protocol: protocolOf(flow) });
  };
}

const L7_NAMES = { dns: "DNS", http: "HTTP", kafka: "Kafka" } as const;
const TYPE_NAMES: Readonly<Record<number, string>> = {
  [EVENT_TYPE.l7]: "L7",
  [EVENT_TYPE.drop]: "Drop",
  [EVENT_TYPE.capture]: "Capture",
  [EVENT_TYPE.trace]: "Trace",
  [EVENT_TYPE["policy-verdict"]]: "PolicyVerdict",
};

function flowMetric(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "flows_processed_total", "Total number of flows processed", {
    labels: ["protocol", "type", "subtype", "verdict"],
  });
  return (flow) => {
    const type = flow.eventType?.type ?? 0;
    const verdict = verdictName(flow.verdict);
    count(flow, { protocol: protocolOf(flow), type: TYPE_NAMES[type] ?? "Unknown", subtype: subtypeOf(type, flow), verdict });
  };
}

function subtypeOf(type: number, { eventType, l7 }: Flow): string {
  if (type === EVENT_TYPE.trace) return observationPointText(eventType?.subType ?? 0);
  if (TYPE_NAMES[type] === undefined) return String(type);
  const record = l7?.record.case;
  return record === undefined ? "" : L7_NAMES[record];
}

function familyOf(flow: Flow): string {
  return flow.IP?.ipVersion === 2 ? "IPv6" : "IPv4";
}

function tcp(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "tcp_flags_total", "TCP flag occurrences", { labels: ["flag", "family"] });
  return (flow) => {
    const flags = flow.l4?.protocol.case === "TCP" ? flow.l4.protocol.value.flags : undefined;
    if (flags === undefined || !passed(flow)) return;
    const family = familyOf(flow);
    if (flags.FIN) count(flow, { flag: "FIN", family });
    if (flags.SYN) count(flow, { flag: flags.ACK ? "SYN-ACK" : "SYN", family });
    if (flags.RST) count(flow, { flag: "RST", family });
  };
}

function sctp(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "sctp_chunk_types_total", "SCTP chunk type occurrences", { labels: ["chunk_type", "family"] });
  return (flow) => {
    const chunk = flow.l4?.protocol.case === "SCTP" ? flow.l4.protocol.value.chunkType : SCTPChunkType.UNSUPPORTED;
    if (chunk === SCTPChunkType.UNSUPPORTED || !passed(flow)) return;
    count(flow, { chunk_type: enumName(SCTPChunkType, chunk), family: familyOf(flow) });
  };
}

function icmp(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "icmp_total", "Number of ICMP messages", { labels: ["family", "type"] });
  return (flow) => {
    const protocol = flow.l4?.protocol;
    if (protocol?.case !== "ICMPv4" && protocol?.case !== "ICMPv6") return;
    const version = protocol.case === "ICMPv4" ? 4 : 6;
    count(flow, { family: `IPv${version}`, type: icmpText(version, protocol.value.type, protocol.value.code) });
  };
}

function portDistribution(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "port_distribution_total", "Numbers of packets distributed by destination port", {
    labels: ["protocol", "port"],
  });
  return (flow) => {
    const protocol = flow.l4?.protocol;
    // What may be an answer has the client's port as its destination.
    if (protocol?.case === undefined || flow.isReply !== false || !passed(flow)) return;
    const port = "destinationPort" in protocol.value ? protocol.value.destinationPort : 0;
    count(flow, { protocol: protocol.case, port: String(port) });
  };
}

const ACTIONS: ReadonlyMap<Verdict, string> = new Map([
  [Verdict.FORWARDED, "forwarded"],
  [Verdict.DROPPED, "dropped"],
  [Verdict.REDIRECTED, "redirected"],
  [Verdict.AUDIT, "audit"],
]);
const IGNORED_SOURCES: ReadonlySet<string> = new Set(["reserved:host", "reserved:health"]);

function policy(deps: MetricDeps): FlowHandler {
  const count = counter(deps, "policy_verdicts_total", "Total number of Cilium network policy verdicts", {
    labels: ["direction", "match", "action"],
  });
  return (flow) => {
    if (flow.source?.labels.some((label) => IGNORED_SOURCES.has(label))) return;
    const action = ACTIONS.get(flow.verdict) ?? "unknown";
    const direction = directionText(flow.trafficDirection);
    const isL7 = flow.l7?.type === L7FlowType.REQUEST;
    if (isL7) count(flow, { direction, match: `l7/${flow.l7?.record.case ?? ""}`, action });
    else if (flow.eventType?.type === EVENT_TYPE["policy-verdict"])
      count(flow, { direction, match: matchTypeText(flow.policyMatchType).toLowerCase(), action });
  };
}

function flowsToWorld(deps: MetricDeps): FlowHandler {
  const { options } = deps.config;
  const labels = ["protocol", "verdict", ...(options.has("port") ? ["port"] : [])];
  const count = counter(deps, "flows_to_world_total", "Total number of flows to reserved:world", { labels });
  return (flow) => {
    if (!isToWorld(flow) || !isWanted(flow, options.has("any-drop")) || (options.has("syn-only") && !opensConnection(flow))) return;
    const protocol = flow.l4?.protocol;
    const port = protocol?.value !== undefined && "destinationPort" in protocol.value ? String(protocol.value.destinationPort) : "";
    count(flow, { protocol: protocolOf(flow), verdict: verdictName(flow.verdict), ...(options.has("port") ? { port } : {}) });
  };
}

function isToWorld({ destination }: Flow): boolean {
  return destination?.labels.some((label) => label.startsWith("reserved:world")) ?? false;
}

/** Drops by policy, any drop if asked for, and what is not known to be an answer. */
function isWanted({ verdict, dropReasonDesc, isReply }: Flow, anyDrop: boolean): boolean {
  if (verdict === Verdict.DROPPED) return anyDrop || dropReasonDesc === DropReason.POLICY_DENIED;
  return isReply !== true;
}

function opensConnection({ l4 }: Flow): boolean {
  if (l4?.protocol.case !== "TCP") return true;
  const { flags } = l4.protocol.value;
  return flags?.SYN === true && !flags.ACK;
}

/** Every metric the setting can name. */
export const METRICS: Readonly<Record<string, (deps: MetricDeps) => FlowHandler>> = {
  dns,
  drop,
  flow: flowMetric,
  "flows-to-world": flowsToWorld,
  http,
  httpV2,
  icmp,
  kafka,
  policy,
  "port-distribution": portDistribution,
  sctp,
  tcp,
};
