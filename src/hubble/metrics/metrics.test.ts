import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Registry } from "prom-client";
import { l7Event } from "#monitor/access.ts";
import type { MonitorEvent } from "#monitor/events.ts";
import { buildPacket } from "#packet/build.ts";
import type { AccessMessage } from "#proxy/protocol.ts";
import { silentLogger } from "#runtime/logger.ts";
import { serveMetrics } from "#runtime/metrics.ts";
import { IpAddress } from "#types/addr.ts";
import { demoNames, packetEvent, tcpPacket } from "../fixtures.ts";
import { startObserver } from "../observer/observer.ts";
import { parseDynamicMetrics } from "./dynamic-config.ts";
import { addHistoryMetrics, startHubbleMetrics } from "./metrics.ts";

const observe = () => startObserver({ names: demoNames(), log: silentLogger, version: "v" });

async function linesOf(registry: Registry): Promise<string[]> {
  return (await registry.metrics())
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#") && !line.includes("_bucket") && !/^hubble_lost_events.* 0$/.test(line));
}

/** The lines of the metrics after these events, comments left out, and what the log says of the setting. */
async function scrape(text: string, events: readonly MonitorEvent[]): Promise<{ lines: string[]; problems: string[] }> {
  const registry = new Registry();
  const observer = observe();
  const problems: string[] = [];
  const log = { ...silentLogger, error: (_: string, fields?: object) => problems.push(String((fields as { error?: string }).error)) };
  await using _ = await startHubbleMetrics(observer, registry, { text }, log);
  for (const event of events) observer.push(event);
  return { lines: await linesOf(registry), problems };
}

const ping = buildPacket({ ethernet: {}, ip: { source: IpAddress("10.0.2.7"), destination: IpAddress("10.0.4.9") }, icmp: { type: 8 } });
const sctp = (chunkType: number) =>
  buildPacket({
    ethernet: {},
    ip: { source: IpAddress("10.0.2.7"), destination: IpAddress("10.0.4.9") },
    sctp: { sourcePort: 1, destinationPort: 2 },
    payload: Uint8Array.of(chunkType, 0, 0, 4),
  });
const [sctpData, sctpInit] = [sctp(0), sctp(1)];
const kafka = { apiKey: "produce", apiVersion: 7, correlationId: 1, topic: "orders", errorCode: 0 };
const KAFKA_LINE = 'hubble_kafka_requests_total{topic="orders",api_key="produce",reporter="server",error_code="0"} 1';
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
    ["icmp", packetEvent({ type: "drop", subtype: 133, packet: ping }), ['hubble_icmp_total{family="IPv4",type="EchoRequest"} 1']],
    ["sctp", packetEvent({ packet: sctpInit }), ['hubble_sctp_chunk_types_total{chunk_type="INIT",family="IPv4"} 1']],
    ["sctp", packetEvent({ packet: sctpData }), []],
    ["kafka", l7Event({ ...common, type: "kafka-access", kind: "request", kafka }), [KAFKA_LINE]],
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
      ['hubble_dns_queries_total{qtypes="A",query="a.b.",ips_returned="0",rcode="Policy denied"} 1'],
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
    it(`${metrics || "always"}: ${expected[0] ?? "nothing"}`, async () =>
      assert.deepEqual(await scrape(metrics, [event]), { lines: expected, problems: [] }));
  }

  for (const [wrong, problem] of [
    ["weather", /unknown hubble metric "weather"; known are dns, drop, /],
    ["http httpV2", /http and httpV2 cannot be enabled together/],
    ["icmp:sourceContext=colour", /unknown context "colour"/],
    ["icmp:labelsContext=source_mood", /unknown label "source_mood"/],
  ] as const) {
    it(`leaves out "${wrong}", says why and counts the others`, async () => {
      const { lines, problems } = await scrape(`${wrong} drop`, [drop]);
      assert.deepEqual(lines, ['hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"} 1']);
      assert.match(problems.join("\n"), problem);
    });
  }

  it("labels httpV2 by who asked whom, http by who sent the packet", async () => {
    const labels = ":labelsContext=source_pod;sourceContext=pod;destinationContext=pod";
    const [v2] = (await scrape(`httpV2${labels}`, [l7Event(access)])).lines;
    assert.match(String(v2), /source="default\/tiefighter",destination="default\/deathstar-[^"]*",source_pod="tiefighter"/);
    const [v1] = (await scrape(`http${labels}`, [l7Event(access)])).lines;
    assert.match(
      String(v1),
      /^hubble_http_responses_total\{method="GET",protocol="HTTP\/1.1",status="200".*destination="default\/tiefighter"/,
    );
  });

  it("forgets the series of a pod that is gone", async () => {
    const registry = new Registry();
    const observer = observe();
    const text = "drop:sourceContext=pod httpV2:labelsContext=source_namespace,source_pod flow";
    await using metrics = await startHubbleMetrics(observer, registry, { text }, silentLogger);
    for (const event of [drop, l7Event(access)]) observer.push(event);
    assert.equal((await linesOf(registry)).length, 6);
    await metrics.forgetPod("other", "tiefighter");
    assert.equal((await linesOf(registry)).length, 6);
    await metrics.forgetPod("default", "tiefighter");
    assert.deepEqual(
      (await linesOf(registry)).map((line) => line.replace(/\{.*/, "")),
      ["hubble_flows_processed_total", "hubble_flows_processed_total"],
    );
  });

  it("carry the trace of a request where OpenMetrics is asked for, and are as ever where it is not", async () => {
    const registry = new Registry();
    const observer = observe();
    await using _ = await startHubbleMetrics(observer, registry, { text: "httpV2:exemplars=true" }, silentLogger);
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const headers = [{ key: "traceparent", value: `00-${trace}-00f067aa0ba902b7-01` }];
    observer.push(l7Event({ ...access, http: { ...access.http, headers } }));
    await using server = await serveMetrics(registry, { host: "127.0.0.1", port: 0 }, { openMetrics: true });
    const get = (accept: string) => fetch(`http://127.0.0.1:${server.port}/metrics`, { headers: { accept } });
    const open = await get("application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert.match(open.headers.get("content-type") ?? "", /^application\/openmetrics-text; version=1\.0\.0/);
    const text = await open.text();
    assert.match(
      text,
      new RegExp(`^# TYPE hubble_http_requests counter\nhubble_http_requests_total\\{.*\\} 1 # \\{traceID="${trace}"\\} 1 \\d+`, "m"),
    );
    assert.match(text, /^hubble_http_request_duration_seconds_bucket\{le="0.005".*# \{traceID=/m);
    assert.match(text, /\n# EOF\n$/);
    const plain = await (await get("text/plain")).text();
    assert.match(plain, /^hubble_http_requests_total\{[^}]*\} 1$/m);
    assert.doesNotMatch(plain, /traceID/);
  });

  it("follow a file: labels, filters, and metrics that come and go", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "hubble-metrics-")), "dynamic-metrics.yaml");
    const registry = new Registry();
    const observer = observe();
    const write = (text: string) => writeFileSync(path, text);
    write(`metrics: [{name: drop, contextOptions: [{name: sourceContext, values: [pod, ip]}], excludeFilters: [{source_pod: [other/]}]}]`);
    await using metrics = await startHubbleMetrics(observer, registry, { path }, silentLogger);
    const step = async (text: string) => {
      write(text);
      await metrics.reload();
      observer.push(drop);
      return linesOf(registry);
    };
    observer.push(drop);
    const line = (count: number) => `hubble_drop_total{reason="POLICY_DENIED",protocol="TCP",source="default/tiefighter"} ${count}`;
    assert.deepEqual(await linesOf(registry), [line(1)]);
    const options = "contextOptions: [{name: sourceContext, values: [pod, ip]}]";
    assert.deepEqual(await step("metrics: [{name: drop}, {name: drop}]"), [line(2)], "a file with a mistake changes nothing");
    assert.deepEqual(await step(`metrics: [{name: drop, ${options}, includeFilters: [{source_pod: [other/]}]}]`), [line(2)]);
    assert.deepEqual(await step("metrics: [{name: drop}]"), ['hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"} 1']);
    assert.deepEqual(await step("metrics: []"), []);
  });

  for (const [text, problem] of [
    ["metrics: drop", /metrics: must be a list/],
    ["metrics: [{}]", /metrics\[0\]\.name: is required/],
    ["metrics: [{name: drop}, {name: drop}]", /"drop" is there twice/],
    ["metrics: [{name: drop, contextOptions: [{values: [a]}]}]", /metrics\[0\]\.contextOptions\[0\]\.name: is required/],
    ["metrics: [{name: drop, includeFilters: [{colour: [red]}]}]", /metrics\[0\]\.includeFilters.*colour/],
  ] as const) {
    it(`refuses the file "${text}"`, () => assert.throws(() => parseDynamicMetrics(text), problem));
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
