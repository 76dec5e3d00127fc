import type { MonitorEvent } from "#monitor/events.ts";
import type { Registry } from "#runtime/metrics.ts";
import type { Counters } from "./counters.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import type { MetricMaker, Sample } from "./metrics.ts";
import { createTally, type Tally } from "./tally.ts";

type L7Labels = "rule" | "proxy_type";

/** What the agent is told, asks and decides: Kubernetes, policies, endpoints, the proxy, its own complaints. */
export function registerActivityMetrics({ gauge, counter }: { gauge: MetricMaker; counter: MetricMaker }, deps: EdgeDeps): void {
  const { counters, state, loops, hub } = deps;
  counter(
    "cilium_errors_warnings_total",
    "Lines of the log that are errors or warnings.",
    ["level", "subsystem"],
    counters.problems.samples,
  );
  counter("cilium_k8s_client_api_calls_total", "Calls of the API server.", ["host", "method", "return_code"], counters.apiCalls.samples);
  counter("cilium_kubernetes_events_total", "Kubernetes objects heard of.", ["scope", "action", "status"], counters.events.samples);
  counter("cilium_policy_change_total", "Changes of policies, by whether they could be used.", ["outcome"], counters.policyChanges.samples);
  gauge("cilium_policy_refused", "Policies that are refused at present: what they said before is in force, or nothing.", [], () => [
    [{}, [...state.policies.table.list()].filter(({ refused }) => refused).length],
  ]);
  counter("cilium_endpoint_regenerations_total", "Policies given to endpoints.", ["reason", "outcome"], () =>
    [...counters.attempts()]
      .filter(([name, operation]) => name === "policy" && operation === "update")
      .map(([, , ok, count]): Sample => [{ reason: "policy", outcome: ok ? "success" : "fail" }, count]),
  );
  gauge(
    "cilium_endpoints_locked",
    "Endpoints of which everything is denied, since their policy could not be put in the kernel.",
    [],
    () => [[{}, [...state.endpoints.list()].filter(({ id }) => loops.policyMaps.realized(id)?.locked !== undefined).length]],
  );
  const requests = createTally<L7Labels>();
  hub.subscribe((event) => countRequest(requests, event));
  counter("cilium_policy_l7_total", "Requests that the proxy judged.", ["rule", "proxy_type"], requests.samples);
  registerMapMetrics({ gauge, counter }, deps);
}

/** Upstream's words: every request is received, and then forwarded, denied, or not understood. */
function countRequest(requests: Tally<L7Labels>, event: MonitorEvent): void {
  if (event.type !== "l7" || event.access.kind !== "request") return;
  const { type, verdict } = event.access;
  const proxy_type = type === "dns-access" ? "fqdn" : "envoy";
  requests.add({ rule: "received", proxy_type });
  const rule = verdict === "DROPPED" ? "denied" : verdict === "ERROR" ? "parse_errors" : "forwarded";
  requests.add({ rule, proxy_type });
}

/** How full the maps are that can become full, 0 to 1, and what the last sweep of the connections found. */
function registerMapMetrics({ gauge, counter }: { gauge: MetricMaker; counter: MetricMaker }, deps: EdgeDeps): void {
  const { state, loops, kernel, usage } = deps;
  const { maps } = kernel.datapath;
  const swept = usage.lastSweep;
  gauge("cilium_bpf_map_pressure", "Share of a map that is in use; of the policy maps, the fullest.", ["map_name"], () => {
    const entries = [...state.endpoints.list()].map(({ id }) => loops.policyMaps.realized(id)?.entries ?? 0);
    return [
      [{ map_name: "policy" }, Math.max(0, ...entries) / deps.limits.policyEntries],
      [{ map_name: "ipcache" }, state.ipcache.table.size / maps.ipcache.maxEntries],
      [{ map_name: "ct" }, swept.alive / maps.conntrack.maxEntries],
    ];
  });
  const labels = (status: string) => ({ family: "all", protocol: "all", status });
  gauge("cilium_datapath_conntrack_gc_entries", "Connections in the last sweep.", ["family", "protocol", "status"], () => [
    [labels("alive"), swept.alive],
    [labels("deleted"), swept.deleted],
  ]);
  counter("cilium_datapath_conntrack_gc_runs_total", "Sweeps of the connection table.", ["family", "protocol", "status"], () => [
    [labels("completed"), swept.runs],
  ]);
}

/** Seconds of calls of the API server, by method and kind of path. */
export async function registerApiLatency(registry: Registry, counters: Counters): Promise<void> {
  const { Histogram } = await import("prom-client");
  const seconds = new Histogram({
    name: "cilium_k8s_client_api_latency_time_seconds",
    help: "Seconds until the API server answered.",
    labelNames: ["path", "method"],
    registers: [registry],
  });
  counters.onApiCall((call) => seconds.observe({ path: call.path, method: call.method }, call.seconds));
}
