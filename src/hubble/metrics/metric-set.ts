import type { Registry } from "prom-client";
import type { Flow } from "#api/gen/flow/flow_pb.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { compileFilters } from "../filters/build.ts";
import type { MetricConfig } from "./config.ts";
import { createContext } from "./context.ts";
import { METRICS } from "./handlers.ts";
import type { FlowHandler, Made } from "./kit.ts";

/** The metrics that are counted at present. */
export interface MetricSet {
  /**
   * Counts these from now on. A metric whose labels stay goes on from its figures, also with other filters. One that cannot be counted (an
   * unknown name, context or label, `http` beside `httpV2`) is logged, and costs nobody else.
   */
  apply(configs: readonly MetricConfig[]): void;
  count(flow: Flow): void;
  /** Forgets the series whose labels name this pod. */
  forgetPod(namespace: string, name: string): Promise<void>;
}

interface Metric {
  readonly settings: string;
  readonly handler: FlowHandler;
  readonly made: readonly Made[];
  matches: (flow: Flow) => boolean;
}

/** Both count `hubble_http_requests_total`, with other labels. */
const EXCLUSIVE: Readonly<Record<string, string>> = { http: "httpV2", httpV2: "http" };

/** No metrics yet. */
export function createMetricSet(registry: Registry, log: Logger): MetricSet {
  const metrics = new Map<string, Metric>();
  const start = (config: MetricConfig): Metric => {
    const matches = compileFilters(config.includeFilters, config.excludeFilters);
    const other = EXCLUSIVE[config.name];
    if (other !== undefined && metrics.has(other)) {
      throw new RangeError(`hubble metrics ${other} and ${config.name} cannot be enabled together`);
    }
    return { settings: settingsOf(config), matches, ...makeMetric(registry, config) };
  };
  const stop = (name: string) => {
    for (const made of metrics.get(name)?.made ?? []) registry.removeSingleMetric(made.name);
    metrics.delete(name);
  };
  return {
    apply(configs) {
      const wanted = new Map(configs.map((config) => [config.name, settingsOf(config)]));
      for (const [name, { settings }] of metrics) if (wanted.get(name) !== settings) stop(name);
      for (const config of configs) {
        try {
          const running = metrics.get(config.name);
          if (running) running.matches = compileFilters(config.includeFilters, config.excludeFilters);
          else metrics.set(config.name, start(config));
        } catch (thrown) {
          log.error("a hubble metric is not counted", { metric: config.name, error: errorMessage(thrown) });
        }
      }
    },
    count(flow) {
      for (const { matches, handler } of metrics.values()) if (matches(flow)) handler(flow);
    },
    async forgetPod(namespace, name) {
      for (const { made, settings } of metrics.values()) {
        if (settings === NO_OPTIONS) continue;
        for (const { metric } of made) await forget(metric, namespace, name);
      }
    },
  };
}

function makeMetric(registry: Registry, config: MetricConfig): Pick<Metric, "handler" | "made"> {
  const make = METRICS[config.name];
  if (make === undefined) throw new RangeError(`unknown hubble metric "${config.name}"; known are ${Object.keys(METRICS).join(", ")}`);
  const made: Made[] = [];
  return { handler: make({ registry, config, context: createContext(config), made }), made };
}

const NO_OPTIONS = "[]";

/** What the labels of a metric depend on. */
function settingsOf({ options }: MetricConfig): string {
  return JSON.stringify([...options].sort(([left], [right]) => left.localeCompare(right)));
}

type Labels = Readonly<Record<string, string | number | undefined>>;

async function forget(metric: Made["metric"], namespace: string, name: string): Promise<void> {
  const { values } = await metric.get();
  for (const { labels } of values) {
    const { le: _, ...series } = labels as Labels & { le?: unknown };
    if (namesPod(series, namespace, name)) metric.remove(series as Record<string, string>);
  }
}

/** `source="demo/web-0"`, or `source_pod="web-0"` beside `source_namespace="demo"`. */
function namesPod(labels: Labels, namespace: string, name: string): boolean {
  return (["source", "destination"] as const).some(
    (end) => labels[end] === `${namespace}/${name}` || (labels[`${end}_pod`] === name && labels[`${end}_namespace`] === namespace),
  );
}
