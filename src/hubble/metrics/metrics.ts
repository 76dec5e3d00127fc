import { Counter, type Registry } from "prom-client";
import { LostEventSource } from "#api/gen/flow/events_pb.ts";
import type { Logger } from "#runtime/logger.ts";
import { followFile } from "../export/follow-file.ts";
import type { History } from "../history/history.ts";
import type { Observer } from "../observer/observer.ts";
import { parseMetrics } from "./config.ts";
import { parseDynamicMetrics } from "./dynamic-config.ts";
import { createMetricSet } from "./metric-set.ts";

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

export interface HubbleMetrics extends AsyncDisposable {
  /** Reads the file anew; nothing happens where the metrics are not in a file. */
  reload(): Promise<void>;
  /** Forgets the series whose labels name this pod, which is gone. */
  forgetPod(namespace: string, name: string): Promise<void>;
}

/** Upstream looks at the mounted ConfigMap that often. */
const RELOAD_MS = 10_000;

/** `text` is the setting `hubble-metrics`, such as `dns:query drop:labelsContext=source_namespace flow`; `path` a file that may change. */
export type MetricsSource = { readonly text: string } | { readonly path: string };

/**
 * Counts the observer's flows into `hubble_*` metrics of the registry. What cannot be counted is logged and costs nothing else; a file that
 * cannot be read or understood changes nothing. Disposing stops counting.
 */
export async function startHubbleMetrics(
  observer: Observer,
  registry: Registry,
  source: MetricsSource,
  log: Logger,
): Promise<HubbleMetrics> {
  const metrics = createMetricSet(registry, log);
  const scope = new AsyncDisposableStack();
  let reload = () => Promise.resolve();
  if ("text" in source) metrics.apply(parseMetrics(source.text));
  else {
    const follow = (text: string) => metrics.apply(parseDynamicMetrics(text));
    const onError = (error: string) => log.error("hubble metrics cannot be configured, nothing changes", { file: source.path, error });
    ({ reload } = scope.use(await followFile(source.path, RELOAD_MS, { follow, onError })));
  }
  countLost(observer, registry, scope);
  scope.use(observer.onFlow(metrics.count));
  return { reload, forgetPod: metrics.forgetPod, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

function countLost(observer: Observer, registry: Registry, scope: AsyncDisposableStack): void {
  const help = "Number of lost events";
  const lost = new Counter({ name: "hubble_lost_events_total", help, labelNames: ["source"], registers: [registry] });
  for (const source of Object.values(LOST_SOURCES)) lost.inc({ source }, 0);
  scope.use(observer.onLost((event) => lost.inc({ source: LOST_SOURCES[event.source] ?? "unknown" }, Number(event.numEventsLost))));
}
