import type { Registry } from "#runtime/metrics.ts";
import type { DnsProxy } from "./dns/dns-proxy.ts";
import type { RunningProxy } from "./proxy.ts";

/** Registers the proxy's figures; they are read when Prometheus asks. */
export async function registerProxyMetrics(registry: Registry, proxy: RunningProxy): Promise<void> {
  const { Gauge, Counter } = await import("prom-client");
  const registers = [registry];
  const { counters, records } = proxy;
  const counter = (
    name: string,
    help: string,
    labelNames: readonly string[],
    read: (set: (labels: Record<string, string>, value: number) => void) => void,
  ) =>
    new Counter({
      ...{ name, help, registers },
      labelNames: [...labelNames],
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  counter("cilium_policy_l7_total", "Requests judged by HTTP policy", ["rule", "proxy_type"], (set) => {
    const total = (verdict: keyof typeof counters.requests.ingress) =>
      counters.requests.ingress[verdict] + counters.requests.egress[verdict];
    set({ rule: "received", proxy_type: "envoy" }, total("FORWARDED") + total("AUDIT") + total("DROPPED"));
    set({ rule: "forwarded", proxy_type: "envoy" }, total("FORWARDED") + total("AUDIT"));
    set({ rule: "denied", proxy_type: "envoy" }, total("DROPPED"));
    set({ rule: "parse_errors", proxy_type: "envoy" }, total("ERROR"));
  });
  counter("cilium_proxy_connections_total", "Redirected connections that were taken", [], (set) => set({}, counters.accepted));
  counter("cilium_proxy_connections_refused_total", "Connections that were not served", ["reason"], (set) => {
    for (const [reason, value] of Object.entries(counters.refused)) set({ reason }, value);
  });
  counter("cilium_proxy_access_records_lost_total", "Access records that nobody took in time", [], (set) => set({}, records.lost));
  if (proxy.dns)
    registerDnsMetrics(proxy.dns, counter, (name, help, read) => {
      new Gauge({
        ...{ name, help, registers },
        collect() {
          this.set(read());
        },
      });
    });
  new Gauge({
    ...{ name: "cilium_proxy_connections", help: "Open client connections", registers },
    collect() {
      this.set(proxy.status().connections);
    },
  });
  new Gauge({
    ...{ name: "cilium_proxy_redirects", help: "Redirected ports of endpoints", labelNames: ["protocol"], registers },
    collect() {
      this.set({ protocol: "http" }, proxy.status().redirects);
    },
  });
}

type MakeCounter = (
  name: string,
  help: string,
  labelNames: readonly string[],
  read: (set: (labels: Record<string, string>, value: number) => void) => void,
) => void;

/** DNS: questions judged, answers withheld, names and addresses known. */
function registerDnsMetrics(dns: DnsProxy, counter: MakeCounter, gauge: (name: string, help: string, read: () => number) => void): void {
  const { counters } = dns;
  counter("cilium_dns_queries_total", "DNS questions by what became of them", ["outcome"], (set) => {
    const { forwarded, denied, answered, withheld, timeouts, malformed, unasked, unknown, overload } = counters;
    const outcomes = { forwarded, denied, answered, withheld, timeouts, malformed, unasked, unknown, overload };
    for (const [outcome, value] of Object.entries(outcomes)) set({ outcome }, value);
  });
  counter("cilium_proxy_upstream_reply_seconds_sum", "Seconds that DNS servers took to answer, added up", [], (set) =>
    set({}, counters.upstreamSeconds.sum),
  );
  counter("cilium_proxy_upstream_reply_seconds_count", "Answers of DNS servers", [], (set) => set({}, counters.upstreamSeconds.count));
  counter("cilium_fqdn_evictions_total", "Learned addresses given up before their time: too many", [], (set) =>
    set({}, dns.status().evictions),
  );
  gauge("cilium_fqdn_active_names", "Names that pods have learned", () => dns.status().names);
  gauge("cilium_fqdn_active_ips", "Addresses that pods have learned by name", () => dns.status().addresses);
  gauge("cilium_fqdn_alive_zombie_connections", "Expired addresses that connections still use", () => dns.status().deferred);
}
