import type { FlowLogs } from "#hubble/export/flow-logs.ts";
import { addFlowLogMetrics } from "#hubble/metrics/flow-logs.ts";
import { addHistoryMetrics, type HubbleMetrics, type MetricsSource, startHubbleMetrics } from "#hubble/metrics/metrics.ts";
import { errorMessage } from "#runtime/errors.ts";
import { createMetrics, type Registry, serveMetrics } from "#runtime/metrics.ts";
import { type AgentConfig, parseListenAddress } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import type { RunningHubble } from "./hubble.ts";

/** Flows of a pod may still be told after it is gone: upstream waits that long, too. */
const FORGET_AFTER_MS = 60_000;

/** `hubble_*` metrics on the address of `hubble-metrics-server`. A setting that cannot be used costs the metrics, not the node. */
export async function serveHubbleMetrics(
  { observer, history, flowLogs }: Pick<RunningHubble, "observer" | "history"> & { readonly flowLogs: FlowLogs | undefined },
  deps: EdgeDeps,
  config: AgentConfig,
  scope: AsyncDisposableStack,
): Promise<void> {
  const log = deps.log.child("hubble");
  const address = parseListenAddress(config["hubble-metrics-server"]);
  const source = sourceOf(config);
  if (!address || source === undefined) return;
  if (config["hubble-metrics"] !== "" && config["hubble-dynamic-metrics-config-path"] !== "") {
    log.error("--hubble-metrics and --hubble-dynamic-metrics-config-path cannot both be used, the file is not read");
  }
  const registry = await createMetrics();
  try {
    const metrics = scope.use(await startHubbleMetrics(observer, registry, source, log));
    forgetGonePods(metrics, deps, scope);
    if (history) addHistoryMetrics(registry, history);
    if (flowLogs) addFlowLogMetrics(registry, flowLogs);
    const onAnswer = await countAnswers(registry);
    scope.use(await serveMetrics(registry, address, { openMetrics: config["enable-hubble-open-metrics"], onAnswer }));
  } catch (thrown) {
    log.error("--hubble-metrics-server cannot be used, no flow metrics", { error: errorMessage(thrown) });
  }
}

function sourceOf(config: AgentConfig): MetricsSource | undefined {
  if (config["hubble-metrics"] !== "") return { text: config["hubble-metrics"] };
  const path = config["hubble-dynamic-metrics-config-path"];
  return path === "" ? undefined : { path };
}

function forgetGonePods({ forgetPod }: HubbleMetrics, { state }: EdgeDeps, scope: AsyncDisposableStack): void {
  const { table } = state.ipcache;
  const changes = scope.use(table.observe());
  const timers = new Set<NodeJS.Timeout>();
  scope.defer(() => {
    for (const timer of timers) clearTimeout(timer);
  });
  changes.onReady(() => {
    for (const { row, previous } of changes.take()) {
      const pod = previous?.pod;
      if (pod === undefined || isSamePod(row?.pod, pod)) continue;
      const timer = setTimeout(() => {
        timers.delete(timer);
        if (![...table.list()].some((other) => isSamePod(other.pod, pod))) void forgetPod(pod.namespace, pod.name);
      }, FORGET_AFTER_MS).unref();
      timers.add(timer);
    }
  });
}

type PodRef = { readonly namespace: string; readonly name: string };

function isSamePod(one: PodRef | undefined, other: PodRef): boolean {
  return one?.namespace === other.namespace && one.name === other.name;
}

async function countAnswers(registry: Registry): Promise<(code: number, seconds: number) => void> {
  const { Counter, Histogram } = await import("prom-client");
  const common = { labelNames: ["code"], registers: [registry] };
  const name = "hubble_metrics_http_handler";
  const requests = new Counter({ ...common, name: `${name}_requests_total`, help: "A counter for requests to Hubble metrics handler." });
  const duration = new Histogram({
    ...common,
    name: `${name}_request_duration_seconds`,
    help: "A histogram of latencies of Hubble metrics handler.",
  });
  return (code, seconds) => {
    requests.inc({ code: String(code) });
    duration.observe({ code: String(code) }, seconds);
  };
}
