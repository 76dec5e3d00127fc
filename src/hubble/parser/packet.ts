import { type Flow, FlowType, TraceObservationPoint, type TraceReason, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import type { PacketEvent } from "#monitor/events.ts";
import { sourceFileName } from "#monitor/names.ts";
import { EVENT_TYPE } from "../event-types.ts";
import type { Names } from "../names.ts";
import { enrichFlow, resolveEndpoint } from "./enrich.ts";
import { createHeaderReader, type PacketHeaders } from "./headers.ts";
import { emptyFlow, eventTypeMessage, interfaceMessage } from "./messages.ts";
import type { PolicyBook } from "./policies.ts";
import { nextUuid } from "./uuid.ts";

const CT_REPLY = 2;
const CT_NOT_ASKED = 5;
const POLICY_DROPS: ReadonlySet<number> = new Set([133, 181, 189]);
const TO_PROXY = 1;

const readHeaders = createHeaderReader();

/** A dropped, seen or judged packet as a flow. Bytes that cannot be read leave their fields empty. */
export function flowOfPacket(event: PacketEvent, names: Names, book: PolicyBook): Flow {
  const headers = readHeaders(event.packet, event.l3Device ? "ip" : "ethernet");
  const flow = emptyFlow(event.time);
  flow.uuid = nextUuid();
  flow.Type = FlowType.L3_L4;
  flow.ethernet = headers.ethernet;
  flow.IP = headers.ip;
  flow.l4 = headers.l4;
  flow.Summary = headers.summary;
  fillEvent(flow, event, names);
  flow.trafficDirection = directionOf(event);
  const egressPacket = event.direction === "egress";
  const local = event.endpointId;
  flow.source = resolveEndpoint(names, {
    ip: headers.ip?.source ?? "",
    identity: event.sourceIdentity,
    endpointId: egressPacket ? local : 0,
  });
  flow.destination = resolveEndpoint(names, {
    ip: headers.ip?.destination ?? "",
    identity: event.destinationIdentity,
    endpointId: event.destinationEndpointId || (egressPacket ? 0 : local),
  });
  enrichFlow(names, flow);
  namePolicies(flow, event, headers, book);
  return flow;
}

function fillEvent(flow: Flow, event: PacketEvent, names: Names): void {
  flow.eventType = eventTypeMessage(EVENT_TYPE[event.type], event.subtype);
  flow.verdict = verdictOf(event);
  const dropped = event.type === "drop" ? event.subtype : event.verdict < 0 ? -event.verdict : 0;
  flow.dropReason = dropped;
  flow.dropReasonDesc = dropped as Flow["dropReasonDesc"];
  flow.isReply = isReplyOf(event);
  flow.reply = flow.isReply ?? false;
  if (event.ifindex !== 0) {
    flow.interface = interfaceMessage(event.ifindex, names.interfaceName(event.ifindex) ?? "");
  }
  if (event.type === "trace") {
    // Datapath point 0 is to-endpoint; 0 on the wire means unknown.
    flow.traceObservationPoint = event.subtype === 0 ? TraceObservationPoint.TO_ENDPOINT : (event.subtype as TraceObservationPoint);
    flow.traceReason = (event.ctReason < CT_NOT_ASKED ? event.ctReason + 1 : 0) as TraceReason;
  }
  if (event.type === "policy-verdict") flow.policyMatchType = event.matchType;
  if (event.verdict > 0 && (event.type === "policy-verdict" || event.subtype === TO_PROXY)) flow.proxyPort = event.verdict;
  if (event.type === "drop" && event.file !== 0)
    flow.file = { $typeName: "flow.FileInfo", name: sourceFileName(event.file), line: event.line };
}

function verdictOf(event: PacketEvent): Verdict {
  switch (event.type) {
    case "drop":
      return Verdict.DROPPED;
    case "trace":
      return event.subtype >= 5 && event.subtype <= 10 && event.ctReason === CT_NOT_ASKED ? Verdict.TRACED : Verdict.FORWARDED;
    case "policy-verdict":
      if (event.audit) return Verdict.AUDIT;
      if (event.verdict < 0) return Verdict.DROPPED;
      return event.verdict > 0 ? Verdict.REDIRECTED : Verdict.FORWARDED;
  }
}

/** Upstream's rule: unknown for drops and denials, never for an allowed verdict, and what conntrack said for traces. */
function isReplyOf(event: PacketEvent): boolean | undefined {
  if (event.type === "policy-verdict") return event.verdict < 0 && !event.audit ? undefined : false;
  if (event.type === "drop") return undefined;
  return event.isReply ?? (event.ctReason < CT_NOT_ASKED ? event.ctReason === CT_REPLY : undefined);
}

/** A trace's direction is that of its connection: an answer that comes in belongs to what went out. */
function directionOf(event: PacketEvent): TrafficDirection {
  if (event.direction === "unknown") return TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN;
  const reply = event.type === "trace" && isReplyOf(event) === true;
  return (event.direction === "egress") !== reply ? TrafficDirection.EGRESS : TrafficDirection.INGRESS;
}

function namePolicies(flow: Flow, event: PacketEvent, { protocol, port }: PacketHeaders, book: PolicyBook): void {
  if (event.type === "trace" || event.direction === "unknown") return;
  const reason = event.type === "drop" ? event.subtype : event.verdict < 0 ? -event.verdict : 0;
  const denied = reason !== 0 || event.audit;
  if (!denied) {
    book.allowed(flow, event.cookie);
    return;
  }
  if (!event.audit && !POLICY_DROPS.has(reason)) return;
  const egress = event.direction === "egress";
  const remoteIdentity = egress ? event.destinationIdentity : event.sourceIdentity;
  const question = { endpointId: event.endpointId, direction: event.direction, remoteIdentity, protocol, port } as const;
  book.denied(flow, question, reason, event.cookie);
}
