import { dropReasonText } from "#monitor/names.ts";
import type { Registry } from "#runtime/metrics.ts";
import { registerProcessMetrics } from "#runtime/process-metrics.ts";
import { VERSION } from "#runtime/version.ts";
import { registerActivityMetrics, registerApiLatency } from "./activity-metrics.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { enforcement } from "./endpoint-view.ts";
import { httpPorts, readHttpCounts } from "./kernel-http-counts.ts";
import { redirectsOf } from "./redirects.ts";

/** One series and its value. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Directions of cilium_metrics. */
const DIRECTIONS: Readonly<Record<number, string>> = { 1: "INGRESS", 2: "EGRESS", 3: "SERVICE" };

/** The agent's metrics; all are read off the tables and maps when they are asked for. */
export async function registerAgentMetrics(registry: Registry, deps: EdgeDeps): Promise<void> {
  const { Counter, Gauge, Histogram } = await import("prom-client");
  const gauge: MetricMaker = (name, help, labelNames, collect) => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of collect()) this.set(labels, value);
      },
    });
  };
  const counter: MetricMaker = (name, help, labelNames, collect) => {
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of collect()) this.inc(labels, value);
      },
    });
  };
  const { state, kernel, loops, proxy, health } = deps;
  const counts = <T>(items: Iterable<T>, label: string, of: (item: T) => string): Sample[] =>
    [...Map.groupBy(items, of)].map(([value, group]) => [{ [label]: value }, group.length]);
  gauge("cilium_version", "Version of the agent.", ["version"], () => [[{ version: VERSION }, 1]]);
  gauge("cilium_endpoint", "Number of endpoints.", [], () => [[{}, state.endpoints.size]]);
  gauge("cilium_endpoint_state", "Endpoints by state.", ["endpoint_state"], () =>
    counts(state.endpoints.list(), "endpoint_state", (row) => row.state),
  );
  gauge("cilium_identity", "Identities known to this node.", ["type"], () =>
    counts(state.identities.table.list(), "type", ({ scope }) => identityType(scope)),
  );
  gauge("cilium_policy", "Number of policies.", [], () => [[{}, state.policies.table.size]]);
  gauge("cilium_policy_max_revision", "Revision of the rules.", [], () => [[{}, state.controller.repository.revision]]);
  gauge("cilium_policy_endpoint_enforcement_status", "Endpoints by enforcement.", ["enforcement"], () =>
    counts(state.endpoints.list(), "enforcement", (row) => enforcement(state.controller.policyOf(row), state.audit.of(row))),
  );
  gauge("cilium_policy_maps", "Policy maps in use: one for each distinct policy.", [], () => [[{}, loops.policyMaps.maps]]);
  gauge("cilium_proxy_redirects", "Ports that are redirected to the L7 proxy.", ["protocol"], () =>
    counts(redirectsOf(state), "protocol", ({ proxy }) => proxy),
  );
  gauge("cilium_fqdn_selectors", "Selectors of names in policies.", [], () => [[{}, state.controller.repository.fqdns().length]]);
  gauge("cilium_proxy_connected", "Whether the L7 proxy is there.", [], () => [[{}, proxy.connected ? 1 : 0]]);
  gauge("cilium_ip_addresses", "Addresses given to pods.", ["family"], () =>
    kernel.pools.map((pool): Sample => [{ family: pool.prefixes[0]?.includes(":") ? "ipv6" : "ipv4" }, pool.owners().size]),
  );
  gauge("cilium_ipam_capacity", "Addresses that can be given to pods.", ["family"], () =>
    kernel.pools.map((pool): Sample => [{ family: pool.prefixes[0]?.includes(":") ? "ipv6" : "ipv4" }, pool.capacity]),
  );
  const { tables } = state.services;
  gauge("cilium_services", "Services known to this node.", [], () => [[{}, tables.services.size]]);
  gauge("cilium_lb_frontends", "Frontends by type.", ["type"], () => counts(tables.frontends.list(), "type", ({ type }) => type));
  gauge("cilium_lb_backends", "Backends by state.", ["state"], () => counts(tables.backends.list(), "state", (row) => row.state));
  gauge("cilium_lb_services_with_problems", "Services of which something could not be used.", [], () => [
    [{}, [...tables.services.list()].filter(({ problems }) => problems.length > 0).length],
  ]);
  counter("cilium_lb_stale_sockets_ended_total", "UDP sockets ended because their backend was gone.", [], () => [
    [{}, loops.services.stale.ended],
  ]);
  counter("cilium_services_events_total", "Changes of services and of what is behind them.", ["action"], () =>
    [...state.services.events].map(([action, count]): Sample => [{ action }, count]),
  );
  gauge("cilium_controllers_failing", "Jobs and reconcilers that fail at present.", [], () => [
    [{}, health.list().filter(({ level }) => level === "degraded").length],
  ]);
  gauge("cilium_nodes_all_num", "Nodes of the cluster.", [], () => [[{}, state.nodes.table.size]]);
  counter("cilium_controllers_runs_total", "Attempts of the reconcilers.", ["status"], () => {
    const of = (wanted: boolean) => [...deps.counters.attempts()].reduce((sum, [, , ok, count]) => (ok === wanted ? sum + count : sum), 0);
    return [
      [{ status: "success" }, of(true)],
      [{ status: "failure" }, of(false)],
    ];
  });
  counter("cilium_bpf_map_ops_total", "Rows written to and removed from the kernel.", ["map_name", "operation", "outcome"], () =>
    [...deps.counters.attempts()].map(
      ([map_name, operation, ok, count]): Sample => [{ map_name, operation, outcome: ok ? "success" : "fail" }, count],
    ),
  );
  const delay = new Histogram({
    name: "cilium_policy_implementation_delay",
    help: "Seconds from hearing of a changed policy to its being in the kernel.",
    labelNames: ["source"],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
    registers: [registry],
  });
  deps.counters.onPolicyDelay((seconds) => delay.observe({ source: "k8s" }, seconds));
  const birth = new Histogram({
    name: "cilium_endpoint_regeneration_time_stats_seconds",
    help: "Seconds an endpoint operation took.",
    labelNames: ["scope", "status"],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
    registers: [registry],
  });
  deps.counters.onEndpoint((operation, seconds) =>
    birth.observe({ scope: "total", status: operation === "failed" ? "failure" : "success" }, seconds),
  );
  registerPacketMetrics(counter, deps);
  registerActivityMetrics({ gauge, counter }, deps);
  await registerApiLatency(registry, deps.counters);
  await registerProcessMetrics(registry, "cilium_");
  registerKernelHttpMetrics(gauge, counter, deps);
}

/** Nothing where the proxy decides everything. */
function registerKernelHttpMetrics(gauge: MetricMaker, counter: MetricMaker, { kernel }: EdgeDeps): void {
  const { httpMaps } = kernel.datapath;
  if (httpMaps === undefined) return;
  gauge("cilium_kernel_http_ports", "Ports of endpoints whose HTTP rules the kernel can decide.", [], () => [[{}, httpPorts(httpMaps)]]);
  gauge("cilium_kernel_http_connections_active", "Open connections whose requests the kernel decides.", [], () => [
    [{}, readHttpCounts(httpMaps).active],
  ]);
  counter(
    "cilium_kernel_http_connections_total",
    "Connections whose requests the kernel decides, by what came of them.",
    ["outcome"],
    () => {
      const { taken, refused, handedOver, cut } = readHttpCounts(httpMaps);
      return Object.entries({ taken, refused, handed_to_proxy: handedOver, cut }).map(([outcome, count]): Sample => [{ outcome }, count]);
    },
  );
  counter("cilium_kernel_http_requests_total", "Requests decided in the kernel.", ["verdict"], () => {
    const { forwarded, denied } = readHttpCounts(httpMaps);
    return Object.entries({ forwarded, denied }).map(([verdict, count]): Sample => [{ verdict }, count]);
  });
}

/** Registers a metric that is read off when it is asked for. */
export type MetricMaker = (name: string, help: string, labelNames: string[], collect: () => Iterable<Sample>) => void;

function registerPacketMetrics(counter: MetricMaker, { kernel }: EdgeDeps): void {
  const rows = () =>
    [...kernel.datapath.maps.metrics.entries()]
      .map(([index, perCpu]) => ({
        // The index of cilium_metrics: reason + 256 * direction.
        reason: index & 0xff,
        direction: DIRECTIONS[index >> 8] ?? "UNKNOWN",
        count: Number(perCpu.reduce((sum, one) => sum + one.count, 0n)),
        bytes: Number(perCpu.reduce((sum, one) => sum + one.bytes, 0n)),
      }))
      .filter(({ count }) => count > 0);
  const drops = (value: "count" | "bytes") => (): Sample[] =>
    rows().flatMap((row): Sample[] =>
      row.reason === 0 ? [] : [[{ reason: dropReasonText(row.reason), direction: row.direction }, row[value]]],
    );
  const forwards = (value: "count" | "bytes") => (): Sample[] =>
    rows().flatMap((row): Sample[] => (row.reason === 0 ? [[{ direction: row.direction }, row[value]]] : []));
  counter("cilium_drop_count_total", "Packets dropped.", ["reason", "direction"], drops("count"));
  counter("cilium_drop_bytes_total", "Bytes of packets dropped.", ["reason", "direction"], drops("bytes"));
  counter("cilium_forward_count_total", "Packets forwarded.", ["direction"], forwards("count"));
  counter("cilium_forward_bytes_total", "Bytes of packets forwarded.", ["direction"], forwards("bytes"));
}

function identityType(scope: "reserved" | "cluster" | "local"): string {
  return scope === "cluster" ? "cluster_local" : scope === "local" ? "node_local" : "reserved";
}
