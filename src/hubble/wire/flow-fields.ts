import type { Flow } from "#api/gen/flow/flow_pb.ts";
import type { BackwardOutput } from "./output.ts";

type Field = (out: BackwardOutput, flow: Flow) => void;
/** What writes a field of a message that has it, by its name. */
export type FlowFields = Readonly<Record<Exclude<keyof Flow, "$typeName" | "$unknown">, Field>>;

/**
 * The fields of a flow, from the highest number down, where `put` writes each. A flow has few of its fields: asking for each by its name, written
 * here, costs a fraction of what asking for names in a loop does, and every flow that is served or kept pays it.
 */
export function flowWriter(put: FlowFields): Field {
  // biome-ignore lint/complexity/noExcessiveCognitiveComplexity: a list, one line a field
  return (out, flow) => {
    if (flow.extensions !== undefined) put.extensions(out, flow);
    if (flow.Summary) put.Summary(out, flow);
    if (flow.aggregate !== undefined) put.aggregate(out, flow);
    if (flow.policyLog.length > 0) put.policyLog(out, flow);
    if (flow.ingressDeniedBy.length > 0) put.ingressDeniedBy(out, flow);
    if (flow.egressDeniedBy.length > 0) put.egressDeniedBy(out, flow);
    if (flow.ingressAllowedBy.length > 0) put.ingressAllowedBy(out, flow);
    if (flow.egressAllowedBy.length > 0) put.egressAllowedBy(out, flow);
    if (flow.emitter !== undefined) put.emitter(out, flow);
    if (flow.ipTraceId !== undefined) put.ipTraceId(out, flow);
    if (flow.tunnel !== undefined) put.tunnel(out, flow);
    if (flow.file !== undefined) put.file(out, flow);
    if (flow.nodeLabels.length > 0) put.nodeLabels(out, flow);
    if (flow.traceReason) put.traceReason(out, flow);
    if (flow.authType) put.authType(out, flow);
    if (flow.uuid) put.uuid(out, flow);
    if (flow.cgroupId) put.cgroupId(out, flow);
    if (flow.socketCookie) put.socketCookie(out, flow);
    if (flow.sockXlatePoint) put.sockXlatePoint(out, flow);
    if (flow.traceContext !== undefined) put.traceContext(out, flow);
    if (flow.proxyPort) put.proxyPort(out, flow);
    if (flow.interface !== undefined) put.interface(out, flow);
    if (flow.debugCapturePoint) put.debugCapturePoint(out, flow);
    if (flow.isReply !== undefined) put.isReply(out, flow);
    if (flow.dropReasonDesc) put.dropReasonDesc(out, flow);
    if (flow.traceObservationPoint) put.traceObservationPoint(out, flow);
    if (flow.policyMatchType) put.policyMatchType(out, flow);
    if (flow.trafficDirection) put.trafficDirection(out, flow);
    if (flow.destinationService !== undefined) put.destinationService(out, flow);
    if (flow.sourceService !== undefined) put.sourceService(out, flow);
    if (flow.eventType !== undefined) put.eventType(out, flow);
    if (flow.reply) put.reply(out, flow);
    if (flow.l7 !== undefined) put.l7(out, flow);
    if (flow.destinationNames.length > 0) put.destinationNames(out, flow);
    if (flow.sourceNames.length > 0) put.sourceNames(out, flow);
    if (flow.nodeName) put.nodeName(out, flow);
    if (flow.Type) put.Type(out, flow);
    if (flow.destination !== undefined) put.destination(out, flow);
    if (flow.source !== undefined) put.source(out, flow);
    if (flow.l4 !== undefined) put.l4(out, flow);
    if (flow.IP !== undefined) put.IP(out, flow);
    if (flow.ethernet !== undefined) put.ethernet(out, flow);
    if (flow.dropReason) put.dropReason(out, flow);
    if (flow.verdict) put.verdict(out, flow);
    if (flow.time !== undefined) put.time(out, flow);
  };
}
