import type { Registry } from "#runtime/metrics.ts";
import type { DnsCounters, Durations } from "./dns/counters.ts";
import type { DnsProxy } from "./dns/dns-proxy.ts";
import type { NameCounts } from "./dns/names.ts";
import type { RunningProxy } from "./proxy.ts";

/** Registers the proxy's figures; they are read when Prometheus asks. */
export async function registerProxyMetrics(registry: Registry, proxy: RunningProxy): Promise<void> {
  const { Gauge, Counter } = await import("prom-client");
  const registers = [registry];
  const { counters, records } = proxy;
  const counter: MakeMetric = (name, help, labelNames, read) =>
    void new Counter({
      ...{ name, help, registers },
      labelNames: [...labelNames],
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  const gauge: MakeMetric = (name, help, labelNames, read) =>
    void new Gauge({
      ...{ name, help, registers },
      labelNames: [...labelNames],
      collect() {
        this.reset();
        read((labels, value) => this.set(labels, value));
      },
    });
  counter("cilium_policy_l7_total", "Requests judged by L7 policy", ["rule", "proxy_type"], (set) => {
    const total = (verdict: keyof typeof counters.requests.ingress) =>
      counters.requests.ingress[verdict] + counters.requests.egress[verdict];
    set({ rule: "received", proxy_type: "envoy" }, total("FORWARDED") + total("AUDIT") + total("DROPPED"));
    set({ rule: "forwarded", proxy_type: "envoy" }, total("FORWARDED") + total("AUDIT"));
    set({ rule: "denied", proxy_type: "envoy" }, total("DROPPED"));
    set({ rule: "parse_errors", proxy_type: "envoy" }, total("ERROR"));
    if (proxy.dns) setDnsVerdicts(proxy.dns.counters, set);
  });
  counter("cilium_proxy_connections_total", "Redirected connections that were taken", [], (set) => set({}, counters.accepted));
  counter("cilium_proxy_connections_refused_total", "Connections that were not served", ["reason"], (set) => {
    for (const [reason, value] of Object.entries(counters.refused)) set({ reason }, value);
  });
  counter("cilium_proxy_access_records_lost_total", "Access records that nobody took in time", [], (set) => set({}, records.lost));
  gauge("cilium_proxy_connections", "Open client connections", [], (set) => set({}, proxy.status().connections));
  gauge("cilium_proxy_redirects", "Redirected ports of endpoints", ["protocol"], (set) =>
    set({ protocol: "http" }, proxy.status().redirects),
  );
  if (proxy.dns) registerDnsMetrics(proxy.dns, counter, gauge);
}

type MakeMetric = (
  name: string,
  help: string,
  labelNames: readonly string[],
  read: (set: (labels: Record<string, string>, value: number) => void) => void,
) => void;

function setDnsVerdicts(counters: DnsCounters, set: (labels: Record<string, string>, value: number) => void): void {
  const { forwarded, denied, malformed } = counters;
  for (const [rule, value] of Object.entries({ received: forwarded + denied + malformed, forwarded, denied, parse_errors: malformed }))
    set({ rule, proxy_type: "fqdn" }, value);
}

/** DNS: questions judged, answers withheld, names and addresses known. */
function registerDnsMetrics(dns: DnsProxy, counter: MakeMetric, gauge: MakeMetric): void {
  const { counters } = dns;
  counter("cilium_dns_queries_total", "DNS questions by what became of them", ["outcome"], (set) => {
    const { forwarded, denied, answered, withheld, timeouts, malformed, unasked, unknown, overload } = counters;
    const { shed } = dns.status();
    const outcomes = { forwarded, denied, answered, withheld, timeouts, malformed, unasked, unknown, overload, shed };
    for (const [outcome, value] of Object.entries(outcomes)) set({ outcome }, value);
  });
  registerReplyTimes(counters.upstreamSeconds, counter);
  counter("cilium_fqdn_evictions_total", "Learned addresses given up before their time: too many", [], (set) =>
    set({}, dns.status().evictions),
  );
  counter("cilium_fqdn_gc_deletions_total", "Names that were forgotten when their time was over", [], (set) =>
    set({}, dns.status().expired),
  );
  counter("cilium_fqdn_semaphore_rejected_total", "DNS questions answered SERVFAIL, since too many were under way", [], (set) =>
    set({}, counters.overload),
  );
  counter("cilium_proxy_datapath_update_timeout_total", "DNS answers withheld, since the kernel did not take their addresses", [], (set) =>
    set({}, counters.withheld),
  );
  const ofEndpoints = (name: string, help: string, of: (counts: NameCounts) => number) =>
    gauge(name, help, ["endpoint"], (set) => {
      for (const [endpoint, counts] of dns.countsByEndpoint()) set({ endpoint: String(endpoint) }, of(counts));
    });
  ofEndpoints("cilium_fqdn_active_names", "Names that pods have learned", ({ names }) => names);
  ofEndpoints("cilium_fqdn_active_ips", "Addresses that pods have learned by name", ({ addresses }) => addresses);
  ofEndpoints("cilium_fqdn_alive_zombie_connections", "Expired addresses that connections still use", ({ deferred }) => deferred);
}

/** The histogram `cilium_proxy_upstream_reply_seconds`, counted as the proxy goes along. */
function registerReplyTimes(times: Durations, counter: MakeMetric): void {
  const name = "cilium_proxy_upstream_reply_seconds";
  const labels = { error: "allow", protocol_l7: "dns", scope: "upstreamTime" };
  const labelNames = Object.keys(labels);
  counter(`${name}_bucket`, "Answers of DNS servers that took at most so many seconds", [...labelNames, "le"], (set) => {
    for (const [le, count] of times.buckets()) set({ ...labels, le }, count);
  });
  counter(`${name}_sum`, "Seconds that DNS servers took to answer, added up", labelNames, (set) => set(labels, times.sum));
  counter(`${name}_count`, "Answers of DNS servers", labelNames, (set) => set(labels, times.count));
}
