import { Counter, type Registry } from "prom-client";
import { type Flow, Verdict } from "#api/gen/flow/flow_pb.ts";
import type { MetricConfig } from "./config.ts";
import type { MetricContext } from "./context.ts";

/** What a metric is made with. */
export interface MetricDeps {
  readonly registry: Registry;
  readonly config: MetricConfig;
  readonly context: MetricContext;
}

/** Counts a flow. */
export type FlowHandler = (flow: Flow) => void;

type Labels = Readonly<Record<string, string>>;

/** A counter `hubble_<name>` with these labels and those of the context. */
export function counter(deps: MetricDeps, name: string, help: string, labels: readonly string[]): (flow: Flow, values: Labels) => void {
  const made = new Counter({ name: `hubble_${name}`, help, labelNames: [...labels, ...deps.context.names], registers: [deps.registry] });
  return (flow, values) => made.inc({ ...values, ...deps.context.values(flow) });
}

/** The packet went on. */
export const passed = ({ verdict }: Flow): boolean => verdict === Verdict.FORWARDED || verdict === Verdict.REDIRECTED;

/** `TCP`, `UDP`, `ICMPv4`, …; `Unknown` without a transport header. */
export function protocolOf(flow: Flow): string {
  return flow.l4?.protocol.case ?? "Unknown";
}
