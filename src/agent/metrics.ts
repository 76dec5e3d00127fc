import { dropReasonText } from "#monitor/names.ts";
import type { Registry } from "#runtime/metrics.ts";
import type { EdgeDeps } from "./edges.ts";
import { enforcement } from "./endpoint-view.ts";
import { redirectsOf } from "./proxy-step.ts";

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Directions of cilium_metrics. */
const DIRECTIONS: Readonly<Record<number, string>> = { 1: "INGRESS", 2: "EGRESS", 3: "SERVICE" };

/** The agent's metrics; all are read off the tables and maps when they are asked for. */
export async function registerAgentMetrics(registry: Registry, deps: EdgeDeps): Promise<void> {
  const { Gauge } = await import("prom-client");
  const gauge = (name: string, help: string, labelNames: string[], collect: () => Iterable<Sample>) => {
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
  const { state, kernel, loops, proxy, health } = deps;
  const counts = <T>(items: Iterable<T>, label: string, of: (item: T) => string): Sample[] =>
    [...Map.groupBy(items, of)].map(([value, group]) => [{ [label]: value }, group.length]);
  gauge("cilium_version", "Version of the agent.", ["version"], () => [[{ version: "0.1.0" }, 1]]);
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
    counts(state.endpoints.list(), "enforcement", (row) => enforcement(state.controller.policyOf(row), row.auditMode || state.audit.on)),
  );
  gauge("cilium_policy_maps", "Policy maps in use: one for each distinct policy.", [], () => [[{}, loops.policyMaps.maps]]);
  gauge("cilium_proxy_redirects", "Ports that are redirected to the L7 proxy.", ["protocol"], () => [
    [{ protocol: "http" }, redirectsOf(state.subjects)],
  ]);
  gauge("cilium_proxy_connected", "Whether the L7 proxy is there.", [], () => [[{}, proxy.connected ? 1 : 0]]);
  gauge("cilium_ip_addresses", "Addresses given to pods.", ["family"], () =>
    kernel.pools.map((pool): Sample => [{ family: pool.prefixes[0]?.includes(":") ? "ipv6" : "ipv4" }, pool.owners().size]),
  );
  gauge("cilium_ipam_capacity", "Addresses that can be given to pods.", ["family"], () =>
    kernel.pools.map((pool): Sample => [{ family: pool.prefixes[0]?.includes(":") ? "ipv6" : "ipv4" }, pool.capacity]),
  );
  gauge("cilium_controllers_failing", "Jobs and reconcilers that fail at present.", [], () => [
    [{}, health.list().filter(({ level }) => level === "degraded").length],
  ]);
  gauge("cilium_nodes_all_num", "Nodes of the cluster.", [], () => [[{}, state.nodes.table.size]]);
  registerPacketMetrics(gauge, deps);
}

type GaugeMaker = (name: string, help: string, labelNames: string[], collect: () => Iterable<Sample>) => void;

function registerPacketMetrics(gauge: GaugeMaker, { kernel }: EdgeDeps): void {
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
  gauge("cilium_drop_count_total", "Packets dropped.", ["reason", "direction"], drops("count"));
  gauge("cilium_drop_bytes_total", "Bytes of packets dropped.", ["reason", "direction"], drops("bytes"));
  gauge("cilium_forward_count_total", "Packets forwarded.", ["direction"], forwards("count"));
  gauge("cilium_forward_bytes_total", "Bytes of packets forwarded.", ["direction"], forwards("bytes"));
}

function identityType(scope: "reserved" | "cluster" | "local"): string {
  return scope === "cluster" ? "cluster_local" : scope === "local" ? "node_local" : "reserved";
}
