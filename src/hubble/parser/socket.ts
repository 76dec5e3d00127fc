import { randomUUID } from "node:crypto";
import { type Flow, FlowType, IPVersion, Verdict } from "#api/gen/flow/flow_pb.ts";
import type { SocketEvent } from "#monitor/events.ts";
import { protocolNumber } from "#types/proto.ts";
import { EVENT_TYPE } from "../event-types.ts";
import type { Names } from "../names.ts";
import { enrichFlow, resolveEndpoint } from "./enrich.ts";
import { tcpLayer, udpLayer } from "./layer4.ts";
import { emptyFlow, ipMessage } from "./messages.ts";
import { summaryOf } from "./summary.ts";

const FIRST_REVERSE_POINT = 3;

/** A service translation at a socket as a flow from the process's pod, or to it for the way back. */
export function flowOfSocket(event: SocketEvent, names: Names): Flow {
  const flow = emptyFlow(event.time);
  const reverse = event.subtype >= FIRST_REVERSE_POINT;
  const own = names.endpointByCgroup?.(event.cgroupId);
  const ownIp =
    own === undefined ? "" : ((event.ipv6 ? own.ips.find((ip) => ip.includes(":")) : own.ips.find((ip) => !ip.includes(":"))) ?? "");
  flow.uuid = randomUUID();
  flow.Type = FlowType.SOCK;
  flow.eventType = { $typeName: "flow.CiliumEventType", type: EVENT_TYPE["trace-sock"], subType: event.subtype };
  flow.sockXlatePoint = event.subtype as Flow["sockXlatePoint"];
  flow.verdict = event.noBackend ? Verdict.DROPPED : event.subtype % 2 === 1 ? Verdict.TRACED : Verdict.TRANSLATED;
  flow.socketCookie = event.socketCookie;
  flow.cgroupId = event.cgroupId;
  flow.IP = reverse ? ipMessage(event.destinationIp, ownIp) : ipMessage(ownIp, event.destinationIp);
  flow.IP.ipVersion = event.ipv6 ? IPVersion.IPv6 : IPVersion.IPv4;
  const layer = event.protocol === protocolNumber.UDP ? udpLayer : tcpLayer;
  flow.l4 = reverse ? layer(event.destinationPort, 0) : layer(0, event.destinationPort);
  const ownEnd = resolveEndpoint(names, { ip: ownIp, identity: 0, endpointId: own?.endpointId ?? 0 });
  const otherEnd = resolveEndpoint(names, { ip: event.destinationIp, identity: 0, endpointId: 0 });
  flow.source = reverse ? otherEnd : ownEnd;
  flow.destination = reverse ? ownEnd : otherEnd;
  enrichFlow(names, flow);
  flow.Summary = summaryOf(flow);
  return flow;
}
