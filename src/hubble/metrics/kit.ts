import { Counter, Histogram, type Registry } from "prom-client";
import { type Flow, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import type { MetricConfig } from "./config.ts";
import type { MetricContext } from "./context.ts";

/** What a metric is made with. */
export interface MetricDeps {
  readonly registry: Registry;
  readonly config: MetricConfig;
  readonly context: MetricContext;
  /** All that was made, so that it can be taken back. */
  readonly made: Made[];
}

/** A metric in the registry. */
export interface Made {
  readonly name: string;
  readonly metric: Counter | Histogram;
}

/** Counts a flow. */
export type FlowHandler = (flow: Flow) => void;

type Labels = Readonly<Record<string, string>>;

interface MetricShape {
  readonly labels: readonly string[];
  /** The flow is an answer and the labels are about its question: source and destination change places. */
  readonly reversed?: boolean;
  /** Whether the metric may carry the trace of a request, which the option `exemplars=true` asks for. */
  readonly traced?: boolean;
}

/** A counter `hubble_<name>` with these labels and those of the context. */
export function counter(deps: MetricDeps, name: string, help: string, shape: MetricShape): (flow: Flow, values: Labels) => void {
  const enableExemplars = isTraced(deps, shape);
  const config = { name: `hubble_${name}`, help, labelNames: labelNames(deps, shape), registers: [] };
  const metric = new Counter({ ...config, enableExemplars });
  register(deps, { name: config.name, metric });
  return (flow, values) => {
    const labels = { ...values, ...deps.context.values(flow, shape.reversed) };
    if (enableExemplars) metric.inc({ labels, value: 1, ...exemplarOf(flow) });
    else metric.inc(labels);
  };
}

/** A histogram of seconds, likewise. */
export function histogram(
  deps: MetricDeps,
  name: string,
  help: string,
  shape: MetricShape,
): (flow: Flow, values: Labels, value: number) => void {
  const enableExemplars = isTraced(deps, shape);
  const config = { name: `hubble_${name}`, help, labelNames: labelNames(deps, shape), registers: [] };
  const metric = new Histogram({ ...config, enableExemplars });
  register(deps, { name: config.name, metric });
  return (flow, values, value) => {
    const labels = { ...values, ...deps.context.values(flow, shape.reversed) };
    if (enableExemplars) metric.observe({ labels, value, ...exemplarOf(flow) });
    else metric.observe(labels, value);
  };
}

// Told of the registry at birth, prom-client refuses exemplars for one that also writes the plain format.
function register({ registry, made }: MetricDeps, one: Made): void {
  registry.registerMetric<string>(one.metric);
  made.push(one);
}

function labelNames({ context }: MetricDeps, { labels }: MetricShape): string[] {
  return [...labels, ...context.names];
}

function isTraced({ config }: MetricDeps, { traced }: MetricShape): boolean {
  return traced === true && config.options.get("exemplars")?.[0] === "true";
}

function exemplarOf({ traceContext }: Flow): { exemplarLabels?: { traceID: string } } {
  const traceID = traceContext?.parent?.traceId ?? "";
  return traceID === "" ? {} : { exemplarLabels: { traceID } };
}

/** The packet went on. */
export const passed = ({ verdict }: Flow): boolean => verdict === Verdict.FORWARDED || verdict === Verdict.REDIRECTED;

/** `TCP`, `UDP`, `ICMPv4`, …; `Unknown` without a transport header. */
export function protocolOf(flow: Flow): string {
  return flow.l4?.protocol.case ?? "Unknown";
}

/** Who saw the request: the side of the server or of the client. */
export function reporterOf(flow: Flow): string {
  if (flow.trafficDirection === TrafficDirection.INGRESS) return "server";
  return flow.trafficDirection === TrafficDirection.EGRESS ? "client" : "unknown";
}
