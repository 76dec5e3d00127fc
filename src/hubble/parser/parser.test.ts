import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DropReason, type Flow, FlowType, TraceObservationPoint, TraceReason, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import { l7Event } from "#monitor/access.ts";
import type { PacketEvent } from "#monitor/events.ts";
import { buildPacket } from "#packet/build.ts";
import type { AccessMessage } from "#proxy/protocol.ts";
import { IpAddress } from "#types/addr.ts";
import { DEATHSTAR, demoNames, packetEvent, RULE1, TIEFIGHTER, tcpPacket } from "../fixtures.ts";
import type { DenialQuestion, Names } from "../names.ts";
import { explanationOf } from "../printer/explain.ts";
import { flowOfAccess } from "./l7.ts";
import { flowOfPacket } from "./packet.ts";
import { createPolicyBook } from "./policies.ts";
import { flowOfSocket } from "./socket.ts";

function flowOf(changes: Partial<PacketEvent> = {}, names: Names = demoNames()): Flow {
  return flowOfPacket(packetEvent(changes), names, createPolicyBook(names));
}

describe("flowOfPacket", () => {
  it("names both ends, the node, the device and the packet", () => {
    const flow = flowOf();
    assert.equal(flow.Type, FlowType.L3_L4);
    assert.equal(flow.source?.podName, TIEFIGHTER.podName);
    assert.deepEqual(
      flow.source?.workloads.map(({ name, kind }) => `${kind}/${name}`),
      ["Pod/tiefighter"],
    );
    assert.equal(flow.destination?.ID, DEATHSTAR.id);
    assert.equal(flow.destination?.identity, DEATHSTAR.identity);
    assert.deepEqual(flow.destination?.labels, DEATHSTAR.labels);
    assert.deepEqual([flow.IP?.source, flow.IP?.destination], ["10.0.2.7", "10.0.4.9"]);
    assert.equal(flow.nodeName, "kind-worker");
    assert.deepEqual([flow.interface?.index, flow.interface?.name], [12, "lxc12ab"]);
    assert.match(flow.uuid, /^[0-9a-f-]{36}$/);
    assert.equal(flow.Summary, "TCP Flags: SYN");
  });

  const verdicts: readonly (readonly [string, Partial<PacketEvent>, Verdict, boolean | undefined])[] = [
    ["a trace of a new connection", {}, Verdict.FORWARDED, false],
    ["a trace of an answer", { isReply: true, ctReason: 2 }, Verdict.FORWARDED, true],
    ["a trace before conntrack", { subtype: 5, isReply: undefined, ctReason: 5 }, Verdict.TRACED, undefined],
    ["a drop", { type: "drop", subtype: 133 }, Verdict.DROPPED, undefined],
    ["an allowed verdict", { type: "policy-verdict" }, Verdict.FORWARDED, false],
    ["a redirected verdict", { type: "policy-verdict", verdict: 10001 }, Verdict.REDIRECTED, false],
    ["a denied verdict", { type: "policy-verdict", verdict: -133 }, Verdict.DROPPED, undefined],
    ["an audited verdict", { type: "policy-verdict", verdict: -133, audit: true }, Verdict.AUDIT, false],
  ];
  for (const [name, changes, verdict, isReply] of verdicts) {
    it(`${name}: verdict and reply`, () => {
      const flow = flowOf(changes);
      assert.equal(flow.verdict, verdict);
      assert.equal(flow.isReply, isReply);
    });
  }

  it("maps the datapath's observation point 0 to TO_ENDPOINT and conntrack's states", () => {
    assert.equal(flowOf().traceObservationPoint, TraceObservationPoint.TO_ENDPOINT);
    assert.equal(flowOf({ subtype: 1 }).traceObservationPoint, TraceObservationPoint.TO_PROXY);
    assert.equal(flowOf({ ctReason: 1 }).traceReason, TraceReason.ESTABLISHED);
    assert.equal(flowOf({ ctReason: 5 }).traceReason, TraceReason.TRACE_REASON_UNKNOWN);
  });

  it("gives an answer the direction of its connection", () => {
    assert.equal(flowOf({ direction: "egress", isReply: true, ctReason: 2 }).trafficDirection, TrafficDirection.INGRESS);
    assert.equal(flowOf({ direction: "egress" }).trafficDirection, TrafficDirection.EGRESS);
    assert.equal(flowOf({ type: "drop", subtype: 133, direction: "ingress" }).trafficDirection, TrafficDirection.INGRESS);
  });

  it("says why and where a packet was dropped", () => {
    const flow = flowOf({ type: "drop", subtype: 181, file: 19, line: 77 });
    assert.equal(flow.dropReason, 181);
    assert.equal(flow.dropReasonDesc, DropReason.POLICY_DENY);
    assert.deepEqual([flow.file?.name, flow.file?.line], ["policy.h", 77]);
    assert.deepEqual([flow.eventType?.type, flow.eventType?.subType], [1, 181]);
  });

  it("names the policies of an allowed verdict by its cookie", () => {
    const flow = flowOf({ type: "policy-verdict", cookie: 7, matchType: 2 });
    assert.deepEqual(
      flow.ingressAllowedBy.map(({ name, namespace, kind }) => `${kind} ${namespace}/${name}`),
      ["CiliumNetworkPolicy default/rule1"],
    );
    assert.equal(flow.policyMatchType, 2);
    assert.deepEqual(flow.ingressDeniedBy, []);
  });

  it("explains a default deny, in the drop and in the verdict", () => {
    for (const changes of [
      { type: "drop", subtype: 133 },
      { type: "policy-verdict", verdict: -133 },
    ] as const) {
      const flow = flowOf(changes);
      assert.deepEqual(
        flow.ingressDeniedBy.map(({ name }) => name),
        ["rule1"],
      );
      const explanation = explanationOf(flow);
      assert.equal(explanation?.lines[0], "no rule allows identity 4208 (tiefighter) on TCP 80");
      assert.equal(explanation?.nearest[0]?.reasons[0], "wants org=rebels");
    }
  });

  it("asks about the remote end, the right way round", () => {
    const asked: DenialQuestion[] = [];
    const names = demoNames({
      explainDenial(question) {
        asked.push(question);
        return undefined;
      },
    });
    flowOf({ type: "drop", subtype: 133 }, names);
    flowOf({ type: "drop", subtype: 133, direction: "egress" }, names);
    assert.deepEqual(asked, [
      { endpointId: 1423, direction: "ingress", remoteIdentity: 4208, protocol: 6, port: 80 },
      { endpointId: 1423, direction: "egress", remoteIdentity: 16530, protocol: 6, port: 80 },
    ]);
  });

  it("says which name's address it was, and until when", () => {
    const lineOf = (until: number) => {
      const names = demoNames({ learnedName: (id, ip) => ({ name: `${id}.${ip}.example`, until }) });
      return explanationOf(flowOf({ type: "drop", subtype: 133, direction: "egress" }, names))?.lines.at(-1);
    };
    assert.match(lineOf(0) ?? "", /^(\S+) was 1423\.\1\.example for this pod until 1970-01-01T00:00:00\.000Z: nothing begins after/);
    assert.match(lineOf(8.64e15) ?? "", /^(\S+) is 1423\.\1\.example for this pod until /);
    const asked: DenialQuestion[] = [];
    const names = demoNames({
      learnedName: () => ({ name: "a.example", until: 0 }),
      explainDenial(question) {
        asked.push(question);
        return undefined;
      },
    });
    flowOf({ type: "drop", subtype: 133, direction: "egress" }, names);
    assert.deepEqual(
      asked.map(({ name }) => name),
      ["a.example"],
    );
  });

  it("lets the cookie of an explicit deny win over the engine", () => {
    const other = { ...RULE1, name: "other" };
    const names = demoNames({ explainDenial: () => ({ policies: [other], lines: ["x"], nearest: [] }) });
    assert.deepEqual(
      flowOf({ type: "drop", subtype: 181, cookie: 7 }, names).ingressDeniedBy.map(({ name }) => name),
      ["rule1"],
    );
    assert.deepEqual(
      flowOf({ type: "drop", subtype: 133, cookie: 7 }, names).ingressDeniedBy.map(({ name }) => name),
      ["other"],
    );
  });

  it("asks once while the policy stays, and again when it changes", () => {
    let asked = 0;
    let revision = 1;
    const names = demoNames({
      policyRevision: () => revision,
      explainDenial() {
        asked++;
        return undefined;
      },
    });
    const book = createPolicyBook(names);
    for (let i = 0; i < 5; i++) flowOfPacket(packetEvent({ type: "drop", subtype: 133 }), names, book);
    assert.equal(asked, 1);
    revision = 2;
    flowOfPacket(packetEvent({ type: "drop", subtype: 133 }), names, book);
    assert.equal(asked, 2);
  });

  it("does not blame policy for other drops", () => {
    const flow = flowOf({ type: "drop", subtype: 132 });
    assert.deepEqual(flow.ingressDeniedBy, []);
    assert.equal(flow.extensions, undefined);
  });

  it("knows an address outside by its DNS name and reserved identity", () => {
    const packet = buildPacket({
      ethernet: {},
      ip: { source: IpAddress("10.0.4.9"), destination: IpAddress("198.51.100.7") },
      tcp: { sourcePort: 40000, destinationPort: 443 },
    });
    const flow = flowOf({
      packet,
      direction: "egress",
      sourceIdentity: DEATHSTAR.identity,
      destinationIdentity: 2,
      destinationEndpointId: 0,
    });
    assert.deepEqual(flow.destinationNames, ["api.github.com"]);
    assert.deepEqual(flow.destination?.labels, ["reserved:world"]);
  });

  it("names a service when the address is its own", () => {
    const flow = flowOf({ packet: tcpPacket({ to: "10.96.0.20" }), destinationIdentity: 2, destinationEndpointId: 0 });
    assert.equal(flow.destinationService?.name, "deathstar");
  });

  it("makes a flow of bytes that are no packet", () => {
    const flow = flowOf({ packet: Uint8Array.of(1, 2, 3) });
    assert.equal(flow.IP, undefined);
    assert.equal(flow.l4, undefined);
  });
});

const access: AccessMessage = {
  type: "access",
  time: 1781443542102.5,
  kind: "request",
  verdict: "FORWARDED",
  direction: "ingress",
  endpointId: 1423,
  source: { ip: "10.0.2.7", port: 43000, identity: 4208 },
  destination: { ip: "10.0.4.9", port: 80, identity: 16530 },
  http: { method: "POST", url: "http://deathstar/v1/request-landing", protocol: "HTTP/1.1", code: 0, headers: [] },
  latencyNs: 0,
  policyRevision: 3,
};
const origin = { kind: "CiliumNetworkPolicy", namespace: "default", name: "rule1", section: "ingress", index: 0 };

describe("flowOfAccess", () => {
  it("makes a request from client to server", () => {
    const flow = flowOfAccess(l7Event({ ...access, origins: [origin] }), demoNames());
    assert.equal(flow.Summary, "HTTP/1.1 POST http://deathstar/v1/request-landing");
    assert.equal(flow.source?.podName, "tiefighter");
    assert.equal(flow.isReply, false);
    assert.equal(flow.eventType?.type, 129);
    assert.deepEqual(
      flow.ingressAllowedBy.map(({ name }) => name),
      ["rule1"],
    );
    assert.equal(flow.time?.nanos, 102_500_000);
  });

  it("makes a response from server to client, with its latency", () => {
    const flow = flowOfAccess(
      l7Event({ ...access, kind: "response", latencyNs: 4_200_000, http: { ...access.http, code: 200 } }),
      demoNames(),
    );
    assert.equal(flow.Summary, "HTTP/1.1 200 4ms (POST http://deathstar/v1/request-landing)");
    assert.equal(flow.destination?.podName, "tiefighter");
    assert.equal(flow.isReply, true);
    assert.equal(flow.l4?.protocol.case === "TCP" && flow.l4.protocol.value.sourcePort, 80);
  });

  it("says why the proxy answered itself, or refused what is no request", () => {
    const [response, request] = [{ kind: "response", error: "connection timeout" }, { error: "no Host header" }] as const;
    const unread = { method: "", url: "", protocol: "HTTP/1.1", code: 400, headers: [] } as const;
    const summaries = [
      { ...access, ...response, verdict: "ERROR" as const, latencyNs: 4_200_000, http: { ...access.http, code: 503 } },
      { ...access, ...request, verdict: "ERROR" as const, http: unread },
    ].map((one) => flowOfAccess(l7Event(one), demoNames()).Summary);
    assert.deepEqual(summaries, [
      "HTTP/1.1 503 4ms (POST http://deathstar/v1/request-landing): connection timeout",
      "HTTP 400: no Host header",
    ]);
  });

  it("names the policies of a denial and what to do", () => {
    const denied = {
      origins: [origin],
      nearest: [{ origins: [origin], httpIndex: 0, mismatches: [{ field: "method", wanted: "POST", found: "PUT" }] }],
      reason: "policy",
    } as const;
    const flow = flowOfAccess(l7Event({ ...access, verdict: "DROPPED", denied, http: { ...access.http, method: "PUT" } }), demoNames());
    assert.deepEqual(
      flow.ingressDeniedBy.map(({ namespace, name }) => `${namespace}/${name}`),
      ["default/rule1"],
    );
    assert.equal(explanationOf(flow)?.fix, 'add an http rule to default/rule1 with method: "PUT" and path: "/v1/request-landing"');
  });

  it("proposes an expression that matches the path, or the path that some server would read", () => {
    const fixFor = (url: string, more: { readonly reason: "policy" | "ambiguous-path"; readonly reading?: string }) => {
      const denied = { origins: [origin], nearest: [{ origins: [origin], httpIndex: 0, mismatches: [] }], ...more };
      const nearest = [{ origins: [origin], mismatches: [{ field: "path" as const, wanted: "/", found: "/x" }] }];
      const flow = flowOfAccess(
        l7Event({ ...access, verdict: "DROPPED", denied: { ...denied, nearest }, http: { ...access.http, url } }),
        demoNames(),
      );
      return explanationOf(flow)?.fix?.replace(/add an http rule to default\/rule1 with method: "[A-Z]+" and /, "");
    };
    assert.equal(fixFor("http://a/file.txt?x=1", { reason: "policy" }), "path: '/file\\.txt\\?.*'");
    assert.equal(fixFor("http://a/x/../y", { reason: "ambiguous-path", reading: "/y" }), 'ask for /y as it is, and path: "/y"');
    assert.equal(fixFor("http://a/%c0%af", { reason: "ambiguous-path", reading: "/%c0%af" }), "");
  });

  it("sums up Kafka requests and TLS connections, and says what would let them through", () => {
    const { type: _type, http: _http, ...base } = access;
    const denied = (kafkaIndex: number | undefined, field: "topic" | "serverName") => ({
      ...({ reason: "policy", origins: [origin] } as const),
      nearest: [
        { origins: [origin], ...(kafkaIndex === undefined ? {} : { kafkaIndex }), mismatches: [{ field, wanted: "a", found: "b" }] },
      ],
    });
    const kafka = { apiKey: "produce", apiVersion: 7, correlationId: 5, topic: "b", errorCode: 29 };
    const ofKafka = flowOfAccess(
      l7Event({ ...base, type: "kafka-access", verdict: "DROPPED", denied: denied(0, "topic"), kafka }),
      demoNames(),
    );
    assert.equal(ofKafka.Summary, "Kafka request produce correlation id 5 topic 'b'");
    assert.equal(ofKafka.l7?.record.case, "kafka");
    assert.deepEqual(explanationOf(ofKafka)?.nearest[0]?.reasons, ['kafka rule 0: topic "b" does not match "a"']);
    assert.equal(explanationOf(ofKafka)?.fix, 'add a kafka rule to default/rule1 with apiKey: "produce" and topic: "b"');
    const tls = { serverName: "b", terminated: false };
    const ofTls = flowOfAccess(
      l7Event({ ...base, type: "tls-access", verdict: "DROPPED", denied: denied(undefined, "serverName"), tls }),
      demoNames(),
    );
    assert.equal(ofTls.Summary, "TLS server name b");
    assert.deepEqual(explanationOf(ofTls)?.nearest[0]?.reasons, ['serverName "b" does not match "a"']);
    assert.equal(explanationOf(ofTls)?.fix, 'add "b" to the serverNames of default/rule1');
  });

  it("takes the trace id from the headers", () => {
    const traceparent = { key: "Traceparent", value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
    const flow = flowOfAccess(l7Event({ ...access, http: { ...access.http, headers: [traceparent] } }), demoNames());
    assert.equal(flow.traceContext?.parent?.traceId, "4bf92f3577b34da6a3ce929d0e0e4736");
  });

  const dns = {
    query: "api.github.com.",
    qtypes: ["A"],
    rcode: 0,
    ips: ["140.82.121.6"],
    ttl: 30,
    cnames: [],
    rrtypes: ["A"],
    source: "proxy",
  };
  it("says what would let a name through", () => {
    const { http: _, type: __, ...common } = access;
    const fix = (query: string, field: "name" | "identity" = "name") => {
      const nearest = [{ origins: [origin], mismatches: [{ field, wanted: "*.b", found: query }] }];
      const denied = { reason: "policy", origins: [origin], nearest } as const;
      const event = l7Event({
        ...common,
        type: "dns-access",
        kind: "request",
        protocol: "UDP",
        verdict: "DROPPED",
        denied,
        dns: { ...dns, query },
      });
      return explanationOf(flowOfAccess(event, demoNames()))?.fix;
    };
    assert.match(fix("API.a.com.") ?? "", /^add a dns rule to default\/rule1 with matchName: "api\.a\.com", and a toFQDNs with the same/);
    assert.match(fix("_x.a.com.") ?? "", /with matchPattern: "_x\.a\.com"/);
    assert.deepEqual([fix("a*b.com."), fix("."), fix('a"b.com.')], ["", "", ""]);
    assert.match(fix("a.com.", "identity") ?? "", /let default\/rule1 also select this peer/);
  });

  const summaries = [
    ["request", {}, "DNS Query api.github.com. A"],
    ["response", {}, 'DNS Answer "140.82.121.6" TTL: 30 (Proxy api.github.com. A)'],
    ["response", { rcode: 3, ips: [], ttl: 4294967295 }, "DNS Answer RCode: Non-Existent Domain TTL: 4294967295 (Proxy api.github.com. A)"],
    ["response", { cnames: ["a.b."] }, 'DNS Answer "140.82.121.6" CNAMEs: "a.b." TTL: 30 (Proxy api.github.com. A)'],
  ] as const;
  for (const [kind, changes, summary] of summaries) {
    it(`sums up ${summary}`, () => {
      const { http: _, type: __, ...common } = access;
      const flow = flowOfAccess(
        l7Event({ ...common, type: "dns-access", kind, protocol: "UDP", dns: { ...dns, ...changes } }),
        demoNames(),
      );
      assert.equal(flow.Summary, summary);
      assert.equal(flow.l4?.protocol.case, "UDP");
    });
  }
});

describe("flowOfSocket", () => {
  const event = {
    type: "trace-sock",
    subtype: 1,
    time: 5n,
    protocol: 6,
    ipv6: false,
    noBackend: false,
    destinationIp: "10.96.0.20",
    destinationPort: 80,
    socketCookie: 5n,
    cgroupId: 7n,
  } as const;
  const names = demoNames({ endpointByCgroup: (id) => (id === 7n ? { endpointId: 1423, ips: ["10.0.4.9"] } : undefined) });

  it("goes from the pod of the cgroup to the service", () => {
    const flow = flowOfSocket(event, names);
    assert.equal(flow.verdict, Verdict.TRACED);
    assert.equal(flow.source?.podName, DEATHSTAR.podName);
    assert.equal(flow.destinationService?.name, "deathstar");
    assert.deepEqual([flow.socketCookie, flow.cgroupId], [5n, 7n]);
  });

  it("comes back from the backend", () => {
    const flow = flowOfSocket({ ...event, subtype: 4 }, names);
    assert.equal(flow.verdict, Verdict.TRANSLATED);
    assert.equal(flow.destination?.podName, DEATHSTAR.podName);
  });
});
