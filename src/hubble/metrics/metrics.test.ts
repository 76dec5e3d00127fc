import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Registry } from "prom-client";
import { l7Event } from "#monitor/access.ts";
import type { MonitorEvent } from "#monitor/events.ts";
import { buildPacket } from "#packet/build.ts";
import type { AccessMessage } from "#proxy/protocol.ts";
import { silentLogger } from "#runtime/logger.ts";
import { IpAddress } from "#types/addr.ts";
import { demoNames, packetEvent, tcpPacket } from "../fixtures.ts";
import { startObserver } from "../observer/observer.ts";
import { addHistoryMetrics, startHubbleMetrics } from "./metrics.ts";

/** The lines of the metrics after these events, comments left out. */
async function scrape(metrics: string, events: readonly MonitorEvent[]): Promise<string[]> {
  const registry = new Registry();
  const observer = startObserver({ names: demoNames(), log: silentLogger, version: "v" });
  using _ = startHubbleMetrics(observer, registry, metrics);
  for (const event of events) observer.push(event);
  return (await registry.metrics()).split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.includes("_bucket"));
}

const ping = buildPacket({ ethernet: {}, ip: { source: IpAddress("10.0.2.7"), destination: IpAddress("10.0.4.9") }, icmp: { type: 8 } });
const access: AccessMessage = {
  type: "access",
  time: 1,
  kind: "response",
  verdict: "FORWARDED",
  direction: "ingress",
  endpointId: 1423,
  source: { ip: "10.0.2.7", port: 43000, identity: 4208 },
  destination: { ip: "10.0.4.9", port: 80, identity: 16530 },
  http: { method: "GET", url: "http://x/", protocol: "HTTP/1.1", code: 200, headers: [] },
  latencyNs: 5e6,
  policyRevision: 1,
};
const { http: _, type: __, ...common } = access;
const answer = { query: "a.b.", qtypes: ["A"], rcode: 3, ips: [], ttl: 1, cnames: [], rrtypes: [], source: "proxy" };
const drop = packetEvent({ type: "drop", subtype: 133 });

describe("hubble metrics", () => {
  const cases: readonly (readonly [string, MonitorEvent, readonly string[]])[] = [
    ["drop", drop, ['hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"} 1']],
    ["drop", packetEvent(), []],
    [
      "drop:labelsContext=source_namespace,destination_pod",
      drop,
      [
        'hubble_drop_total{reason="POLICY_DENIED",protocol="TCP",source_namespace="default",destination_pod="deathstar-6f87496b94-9ltxh"} 1',
      ],
    ],
    ["drop:sourceContext=dns|pod", drop, ['hubble_drop_total{reason="POLICY_DENIED",protocol="TCP",source="default/tiefighter"} 1']],
    ["flow", packetEvent(), ['hubble_flows_processed_total{protocol="TCP",type="Trace",subtype="to-endpoint",verdict="FORWARDED"} 1']],
    ["flow", drop, ['hubble_flows_processed_total{protocol="TCP",type="Drop",subtype="",verdict="DROPPED"} 1']],
    ["tcp", packetEvent(), ['hubble_tcp_flags_total{flag="SYN",family="IPv4"} 1']],
    ["tcp", packetEvent({ packet: tcpPacket({ reply: true, flags: 18 }) }), ['hubble_tcp_flags_total{flag="SYN-ACK",family="IPv4"} 1']],
    ["icmp", packetEvent({ packet: ping }), ['hubble_icmp_total{family="IPv4",type="EchoRequest"} 1']],
    ["port-distribution", packetEvent(), ['hubble_port_distribution_total{protocol="TCP",port="80"} 1']],
    ["port-distribution", packetEvent({ isReply: true, ctReason: 2 }), []],
    [
      "dns",
      l7Event({ ...common, type: "dns-access", kind: "response", protocol: "UDP", dns: answer }),
      ['hubble_dns_responses_total{qtypes="A",ips_returned="0",rcode="Non-Existent Domain"} 1'],
    ],
    [
      "dns:query",
      l7Event({ ...common, type: "dns-access", kind: "request", protocol: "UDP", verdict: "DROPPED", dns: answer }),
      ['hubble_dns_queries_total{qtypes="A",ips_returned="0",query="a.b.",rcode="Policy denied"} 1'],
    ],
    [
      "httpV2",
      l7Event(access),
      [
        'hubble_http_requests_total{method="GET",protocol="HTTP/1.1",status="200",reporter="server"} 1',
        'hubble_http_request_duration_seconds_sum{method="GET",reporter="server"} 0.005',
        'hubble_http_request_duration_seconds_count{method="GET",reporter="server"} 1',
      ],
    ],
    ["http", l7Event({ ...access, kind: "request" }), ['hubble_http_requests_total{method="GET",protocol="HTTP/1.1",reporter="server"} 1']],
    [
      "policy",
      packetEvent({ type: "policy-verdict", matchType: 2 }),
      ['hubble_policy_verdicts_total{direction="ingress",match="l3-l4",action="forwarded"} 1'],
    ],
    [
      "flows-to-world:port",
      packetEvent({ destinationIdentity: 2, packet: tcpPacket({ to: "198.51.100.7" }) }),
      ['hubble_flows_to_world_total{protocol="TCP",verdict="FORWARDED",port="80"} 1'],
    ],
    ["", { type: "lost", time: 1n, source: "kernel", count: 4 }, ['hubble_lost_events_total{source="perf_event_ring_buffer"} 4']],
  ];
  for (const [metrics, event, expected] of cases) {
    it(`${metrics || "always"}: ${expected[0] ?? "nothing"}`, async () => assert.deepEqual(await scrape(metrics, [event]), expected));
  }

  for (const wrong of ["weather", "http httpV2", "drop:sourceContext=colour", "drop:labelsContext=source_mood"]) {
    it(`refuses "${wrong}"`, async () => assert.rejects(scrape(wrong, []), RangeError));
  }

  it("shows what the history on disk has lost, each loss once", async () => {
    const registry = new Registry();
    let lost = 3;
    addHistoryMetrics(registry, { lost: () => lost });
    assert.match(await registry.metrics(), /^hubble_history_lost_total 3$/m);
    lost = 5;
    assert.match(await registry.metrics(), /^hubble_history_lost_total 5$/m);
  });
});
