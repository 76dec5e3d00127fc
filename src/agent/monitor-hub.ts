import { type Endpoint, podKey } from "#endpoint/endpoint.ts";
import { l7Event } from "#monitor/access.ts";
import { agentEvent } from "#monitor/agent-event.ts";
import { type AgentPayload, type MonitorEvent, nowNanoseconds } from "#monitor/events.ts";
import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import type { AccessRecord, LostMessage } from "#proxy/protocol.ts";

/** Where all events of the node come together, and from where observer and monitor take them. */
export interface MonitorHub {
  push(event: MonitorEvent): void;
  /** The sink sees every event from now on; it must be quick and must not throw. */
  subscribe(sink: (event: MonitorEvent) => void): Disposable;
  readonly access: (message: AccessRecord | DnsAccessMessage) => void;
  readonly proxyLost: (message: LostMessage) => void;
  endpoint(event: "created" | "deleted", endpoint: Endpoint): void;
  agent(payload: AgentPayload): void;
  /** What the endpoint's log says, oldest first. */
  logOf(endpointId: number): readonly LogLine[];
}

export interface LogLine {
  readonly timestamp: string;
  readonly code: string;
  readonly state: string;
  readonly message: string;
}

export function createMonitorHub(): MonitorHub {
  const sinks = new Set<(event: MonitorEvent) => void>();
  const logs = new Map<number, LogLine[]>();
  const push = (event: MonitorEvent) => {
    for (const sink of sinks) sink(event);
  };
  const agent = (payload: AgentPayload) => push(agentEvent(payload));
  return {
    push,
    agent,
    subscribe(sink) {
      sinks.add(sink);
      return { [Symbol.dispose]: () => void sinks.delete(sink) };
    },
    access: (message) => push(l7Event(message)),
    proxyLost: ({ count }) => push({ type: "lost", time: nowNanoseconds(), source: "proxy", count }),
    endpoint(event, { id, labels, pod }) {
      const line = {
        timestamp: new Date().toISOString(),
        code: "OK",
        state: event === "created" ? "ready" : "disconnected",
        message: `endpoint of ${podKey(pod)} ${event}`,
      };
      if (event === "deleted") logs.delete(id);
      else logs.set(id, [...(logs.get(id) ?? []), line].slice(-50));
      agent({ kind: `endpoint-${event}`, id, labels: labels.texts, podName: pod.name, namespace: pod.namespace });
    },
    logOf: (id) => logs.get(id) ?? [],
  };
}
