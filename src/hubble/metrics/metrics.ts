import { Counter, type Registry } from "prom-client";
import { LostEventSource } from "#api/gen/flow/events_pb.ts";
import type { History } from "../history/history.ts";
import type { Observer } from "../observer/observer.ts";
import { parseMetrics } from "./config.ts";
import { createContext } from "./context.ts";
import { METRICS } from "./handlers.ts";

const LOST_SOURCES: Readonly<Record<number, string>> = {
  [LostEventSource.PERF_EVENT_RING_BUFFER]: "perf_event_ring_buffer",
  [LostEventSource.OBSERVER_EVENTS_QUEUE]: "observer_events_queue",
  [LostEventSource.HUBBLE_RING_BUFFER]: "hubble_ring_buffer",
};

/** Counts what the history on disk has lost as `hubble_history_lost_total`. */
export function addHistoryMetrics(registry: Registry, history: Pick<History, "lost">): void {
  let shown = 0;
  new Counter({
    name: "hubble_history_lost_total",
    help: "Number of events that the flow history on disk did not take: the disk was full or too slow",
    registers: [registry],
    collect() {
      const lost = history.lost();
      this.inc(lost - shown);
      shown = lost;
    },
  });
}

/**
 * Counts the observer's flows into `hubble_*` metrics of the registry. `metrics` is the setting `hubble-metrics`, such as
 * `dns:query drop:labelsContext=source_namespace flow`. Throws RangeError for a metric or option it does not know, and for `http`
 * beside `httpV2`. Disposing stops counting.
 */
export function startHubbleMetrics(observer: Observer, registry: Registry, metrics: string): Disposable {
  const configs = parseMetrics(metrics);
  const wanted = new Set(configs.map(({ name }) => name));
  if (wanted.has("http") && wanted.has("httpV2")) throw new RangeError("hubble metrics http and httpV2 cannot be enabled together");
  const handlers = configs.map((config) => {
    const make = METRICS[config.name];
    if (make === undefined) throw new RangeError(`unknown hubble metric "${config.name}"; known are ${Object.keys(METRICS).join(", ")}`);
    return make({ registry, config, context: createContext(config) });
  });
  const lost = new Counter({
    name: "hubble_lost_events_total",
    help: "Number of lost events",
    labelNames: ["source"],
    registers: [registry],
  });
  const scope = new DisposableStack();
  scope.use(
    observer.onFlow((flow) => {
      for (const handle of handlers) handle(flow);
    }),
  );
  scope.use(observer.onLost((event) => lost.inc({ source: LOST_SOURCES[event.source] ?? "unknown" }, Number(event.numEventsLost))));
  return scope;
}
