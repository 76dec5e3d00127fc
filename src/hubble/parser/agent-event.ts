import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type AgentEvent,
  AgentEventSchema,
  AgentEventType,
  type LostEvent,
  LostEventSchema,
  LostEventSource,
} from "#api/gen/flow/events_pb.ts";
import type * as monitor from "#monitor/events.ts";
import { timestampOf } from "./messages.ts";

/** The agent event types by the names the command line knows. */
export const AGENT_EVENT_TYPES: Readonly<Record<monitor.AgentPayload["kind"], AgentEventType>> = {
  "agent-started": AgentEventType.AGENT_STARTED,
  "policy-updated": AgentEventType.POLICY_UPDATED,
  "policy-deleted": AgentEventType.POLICY_DELETED,
  "endpoint-regenerate-success": AgentEventType.ENDPOINT_REGENERATE_SUCCESS,
  "endpoint-regenerate-failure": AgentEventType.ENDPOINT_REGENERATE_FAILURE,
  "endpoint-created": AgentEventType.ENDPOINT_CREATED,
  "endpoint-deleted": AgentEventType.ENDPOINT_DELETED,
  "ipcache-upserted": AgentEventType.IPCACHE_UPSERTED,
  "ipcache-deleted": AgentEventType.IPCACHE_DELETED,
};

/** An agent event as Hubble sends it. */
export function agentEventMessage({ payload }: monitor.AgentEvent): AgentEvent {
  return create(AgentEventSchema, { type: AGENT_EVENT_TYPES[payload.kind], notification: notificationOf(payload) });
}

type Notification = NonNullable<Extract<MessageInitShape<typeof AgentEventSchema>, { $typeName?: never }>["notification"]>;

function notificationOf(payload: monitor.AgentPayload): Notification {
  switch (payload.kind) {
    case "agent-started":
      return { case: "agentStart", value: { time: timestampOf(payload.time) } };
    case "policy-updated":
    case "policy-deleted":
      return {
        case: "policyUpdate",
        value: { labels: [...payload.labels], revision: BigInt(payload.revision), ruleCount: BigInt(payload.ruleCount) },
      };
    case "endpoint-regenerate-success":
    case "endpoint-regenerate-failure":
      return { case: "endpointRegenerate", value: { id: BigInt(payload.id), labels: [...payload.labels], error: payload.error } };
    case "endpoint-created":
    case "endpoint-deleted": {
      const { id, labels, podName, namespace } = payload;
      return { case: "endpointUpdate", value: { id: BigInt(id), labels: [...labels], podName, namespace } };
    }
    case "ipcache-upserted":
    case "ipcache-deleted": {
      const { kind: _, ...fields } = payload;
      return { case: "ipcacheUpdate", value: fields };
    }
  }
}

const SOURCES = {
  kernel: LostEventSource.PERF_EVENT_RING_BUFFER,
  proxy: LostEventSource.OBSERVER_EVENTS_QUEUE,
  observer: LostEventSource.OBSERVER_EVENTS_QUEUE,
} as const;

/** Lost monitor events as Hubble reports them. */
export function lostEventMessage(event: monitor.LostEvent): LostEvent {
  const time = timestampOf(event.time);
  return create(LostEventSchema, { source: SOURCES[event.source], numEventsLost: BigInt(event.count), first: time, last: time });
}
