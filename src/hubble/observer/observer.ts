import type { AgentEvent, LostEvent } from "#api/gen/flow/events_pb.ts";
import type { Emitter, Flow } from "#api/gen/flow/flow_pb.ts";
import type { L7Event, MonitorEvent } from "#monitor/events.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { nameLateFlows } from "../dns/late-names.ts";
import { createDnsWatcher } from "../dns/watcher.ts";
import { isImportant } from "../important.ts";
import type { Names } from "../names.ts";
import { agentEventMessage, lostEventMessage } from "../parser/agent-event.ts";
import { flowOfAccess } from "../parser/l7.ts";
import { flowOfPacket } from "../parser/packet.ts";
import { createPolicyBook, type PolicyBook } from "../parser/policies.ts";
import type { Redact } from "../parser/redact.ts";
import { flowOfSocket } from "../parser/socket.ts";
import { Ring } from "../ring.ts";
import { share } from "../wire/encoder.ts";
import { createNamespaceLog, type NamespaceLog } from "./namespaces.ts";

/** One thing the ring holds. `time` is nanoseconds since 1970. */
export type Entry =
  | { readonly kind: "flow"; readonly time: bigint; readonly flow: Flow }
  | { readonly kind: "agent"; readonly time: bigint; readonly event: AgentEvent }
  | { readonly kind: "lost"; readonly time: bigint; readonly event: LostEvent };

export interface ObserverDeps {
  readonly names: Names;
  readonly log: Logger;
  /** Version of the agent, as clients see it. */
  readonly version: string;
}

export interface ObserverConfig {
  /** Power of two minus one; 4095 by default (`hubble-event-buffer-capacity`). */
  readonly capacity?: number;
  /** What L7 flows hide; nothing when absent. */
  readonly redact?: Redact;
}

export interface ObserverStatus {
  readonly flows: number;
  readonly maxFlows: number;
  readonly seenFlows: bigint;
  readonly uptimeNs: bigint;
  readonly flowsPerSecond: number;
  /** Events that were reported as lost before they could be flows: by the kernel's ring, or by a proxy. */
  readonly lostEvents: bigint;
}

/** The observer of a node: takes events, keeps flows. */
export interface Observer {
  readonly ring: Ring<Entry>;
  readonly names: Names;
  readonly version: string;
  readonly namespaces: NamespaceLog;
  /** Takes an event at once. It never throws: an event nobody understands is counted and logged, once a minute at most. */
  push(event: MonitorEvent): void;
  status(): ObserverStatus;
  /** Calls `sink` for each flow, as it is made; the sink must be quick. Disposing stops that. */
  onFlow(sink: (flow: Flow) => void): Disposable;
  /** Calls `sink` for each report of lost events. */
  onLost(sink: (event: LostEvent) => void): Disposable;
}

const COMPLAIN_EVERY_MS = 60_000;
const RATE_WINDOW_NS = 60_000_000_000n;

/** Starts to observe. There is nothing to stop: it only does something when pushed. */
export function startObserver(deps: ObserverDeps, config: ObserverConfig = {}): Observer {
  const ring = new Ring<Entry>(config.capacity ?? 4095, (entry) => entry.kind !== "flow" || isImportant(entry.flow));
  const dns = createDnsWatcher(deps.names);
  const { names } = dns;
  const book = createPolicyBook(names);
  const namespaces = createNamespaceLog();
  const flowSinks = new Set<(flow: Flow) => void>();
  const lostSinks = new Set<(event: LostEvent) => void>();
  const startedAt = performance.now();
  let seenFlows = 0n;
  let lostEvents = 0n;
  const complain = createComplainer(deps.log);
  const emitter = share<Emitter>({ $typeName: "flow.Emitter", name: "Hubble", version: deps.version });
  const redact = config.redact ?? ((access) => access);
  const take = (event: MonitorEvent): Entry => {
    const entry = entryOf(event, names, emitter, book, redact);
    ring.write(entry);
    if (entry.kind === "flow") {
      seenFlows++;
      namespaces.note(entry.flow);
      for (const sink of flowSinks) sink(entry.flow);
    } else if (entry.kind === "lost") {
      lostEvents += entry.event.numEventsLost;
      for (const sink of lostSinks) sink(entry.event);
    }
    return entry;
  };
  return {
    ring,
    names,
    version: deps.version,
    namespaces,
    push(event) {
      try {
        const entry = take(event);
        const seen = event.type === "trace" && entry.kind === "flow" ? dns.watch(event, entry.flow) : undefined;
        if (seen !== undefined) take(seen);
        if (event.type === "l7") nameLateFlows(ring, names, event);
      } catch (thrown) {
        complain(event, thrown);
      }
    },
    status() {
      const uptimeNs = Math.round((performance.now() - startedAt) * 1e6);
      const rate = flowsPerSecond(ring, uptimeNs);
      return { flows: ring.length, maxFlows: ring.capacity, seenFlows, uptimeNs: BigInt(uptimeNs), flowsPerSecond: rate, lostEvents };
    },
    onFlow: (sink) => register(flowSinks, sink),
    onLost: (sink) => register(lostSinks, sink),
  };
}

function register<T>(sinks: Set<T>, sink: T): Disposable {
  sinks.add(sink);
  return { [Symbol.dispose]: () => void sinks.delete(sink) };
}

function entryOf(event: MonitorEvent, names: Names, emitter: Emitter, book: PolicyBook, redact: Redact): Entry {
  switch (event.type) {
    case "agent":
      return { kind: "agent", time: event.time, event: agentEventMessage(event) };
    case "lost":
      return { kind: "lost", time: event.time, event: lostEventMessage(event) };
    default: {
      const flow =
        event.type === "l7"
          ? flowOfAccess(redacted(event, redact), names)
          : event.type === "trace-sock"
            ? flowOfSocket(event, names)
            : flowOfPacket(event, names, book);
      flow.emitter = emitter;
      return { kind: "flow", time: event.time, flow };
    }
  }
}

function redacted(event: L7Event, redact: Redact): L7Event {
  return event.access.type === "access" ? { ...event, access: redact(event.access) } : event;
}

function createComplainer(log: Logger): (event: MonitorEvent, thrown: unknown) => void {
  let failures = 0;
  let quietUntil = 0;
  return (event, thrown) => {
    failures++;
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + COMPLAIN_EVERY_MS;
    log.warn("events could not be made flows", { events: failures, type: event.type, error: errorMessage(thrown) });
    failures = 0;
  };
}

/** Flows a second over the last minute, or over what there is of it: since the start, or as far back as the full ring reaches. */
function flowsPerSecond(ring: Ring<Entry>, uptimeNs: number): number {
  const now = BigInt(Date.now()) * 1_000_000n;
  const from = now - RATE_WINDOW_NS;
  let count = 0;
  let at = ring.written - 1;
  for (; at >= ring.oldest; at--) {
    const entry = ring.at(at);
    if (entry === undefined || entry.time < from) break;
    if (entry.kind === "flow") count++;
  }
  const oldest = at < ring.oldest && ring.length === ring.capacity ? ring.at(ring.oldest)?.time : undefined;
  const reach = oldest === undefined ? Number(RATE_WINDOW_NS) : Number(now - oldest);
  return count / Math.max(Math.min(reach, uptimeNs) / 1e9, 1e-3);
}
