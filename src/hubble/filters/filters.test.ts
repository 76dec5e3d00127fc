import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { type Flow, FlowFilterSchema, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { compileFilter, compileFilters } from "./build.ts";
import { FilterError } from "./text.ts";

function flowFrom(json: JsonValue): Flow {
  return fromJson(FlowSchema, json);
}

const flow: JsonObject = {
  verdict: "DROPPED",
  uuid: "u-1",
  IP: { source: "10.0.2.7", destination: "198.51.100.7", ipVersion: "IPv4", encrypted: true, source_xlated: "172.18.0.2" },
  l4: { TCP: { source_port: 37954, destination_port: 443, flags: { SYN: true, ACK: true } } },
  source: {
    identity: 4208,
    namespace: "default",
    pod_name: "tiefighter-1",
    labels: ["k8s:app=tie", "k8s:org=empire", "k8s:tier=front"],
    workloads: [{ name: "tiefighter", kind: "Deployment" }],
    cluster_name: "east",
  },
  destination: { identity: 2, labels: ["reserved:world"], cluster_name: "west" },
  destination_names: ["api.github.com"],
  source_names: ["tie.example.org"],
  source_service: { name: "tie", namespace: "default" },
  destination_service: { name: "gw", namespace: "edge" },
  node_name: "east/worker-1",
  node_labels: ["zone=a"],
  event_type: { type: 1, sub_type: 133 },
  traffic_direction: "EGRESS",
  drop_reason_desc: "POLICY_DENIED",
  interface: { index: 12, name: "lxc12" },
  trace_context: { parent: { trace_id: "abc" } },
  ip_trace_id: { trace_id: "9" },
};
const http: JsonObject = {
  verdict: "FORWARDED",
  is_reply: true,
  l7: {
    type: "RESPONSE",
    http: { code: 503, method: "get", url: "http://api:8080/v1/users?x=1", headers: [{ key: "X-Team", value: "red" }] },
  },
};
const dns: JsonObject = {
  l4: { UDP: { source_port: 5, destination_port: 53 } },
  l7: { type: "REQUEST", dns: { query: "api.github.com." } },
};

/** Field, value that matches, value that does not, flow. */
const cases: readonly (readonly [string, JsonValue, JsonValue, JsonObject?])[] = [
  ["source_ip", "10.0.2.7", "10.0.2.8"],
  ["source_ip", "10.0.0.0/8", "11.0.0.0/8"],
  ["destination_ip", "198.51.100.0/24", "10.0.2.7"],
  ["source_ip_xlated", "172.18.0.2", "172.18.0.3"],
  ["source_pod", "default/tie", "default/x"],
  ["source_pod", "default/", "kube-system/"],
  ["source_pod", "/tie", "/x"],
  ["source_pod", "/", "x/"],
  ["source_pod", "tiefighter", "x-wing"],
  ["destination_pod", "default/x", "default/y", { destination: { namespace: "default", pod_name: "x" } }],
  ["verdict", "DROPPED", "FORWARDED"],
  ["event_type", { type: 1 }, { type: 4 }],
  ["event_type", { type: 1, match_sub_type: true, sub_type: 133 }, { type: 1, match_sub_type: true, sub_type: 181 }],
  ["source_fqdn", "tie.*", "x.*"],
  ["destination_fqdn", "*.GitHub.com.", "github.com"],
  ["http_status_code", "503", "500", http],
  ["http_status_code", "5+", "4+", http],
  ["source_label", "app=tie", "app=x"],
  ["source_label", "k8s:app in (tie, x),!old", "app notin (tie)"],
  ["source_label", "tier", "!tier"],
  ["source_label", "any:org=empire,tier!=back", "reserved:host"],
  ["destination_label", "reserved:world", "k8s:world"],
  ["protocol", "TCP", "udp"],
  ["protocol", "dns", "http", dns],
  ["protocol", "udp", "icmp", dns],
  ["source_port", "37954", "1"],
  ["destination_port", "443", "80"],
  ["reply", true, false, http],
  ["source_service", "default/t", "edge/"],
  ["destination_service", "edge/gw", "gw"],
  ["dns_query", "^api\\.", "^www", dns],
  ["source_identity", 4208, 1],
  ["destination_identity", 2, 9],
  ["http_method", "GET", "POST", http],
  ["http_path", "^/v1/users$", "x=1", http],
  ["http_url", "api:8080/v1/users\\?x=1$", "https", http],
  ["http_header", { key: "x-team", value: "red" }, { key: "x-team", value: "blue" }, http],
  ["tcp_flags", { SYN: true }, { FIN: true }],
  ["tcp_flags", { SYN: true, ACK: true }, { SYN: true, RST: true }],
  ["node_name", "east/worker-*", "west/worker-1"],
  ["node_name", "worker-1", "worker-2"],
  ["node_name", "east/", "west/"],
  ["ip_version", "IPv4", "IPv6"],
  ["source_workload", { name: "tiefighter" }, { name: "x" }],
  ["source_workload", { kind: "Deployment", name: "tiefighter" }, { kind: "DaemonSet", name: "tiefighter" }],
  ["destination_workload", { name: "d" }, { name: "e" }, { destination: { workloads: [{ name: "d", kind: "Pod" }] } }],
  ["trace_id", "abc", "abd"],
  ["uuid", "u-1", "u-2"],
  ["traffic_direction", "EGRESS", "INGRESS"],
  ["drop_reason_desc", "POLICY_DENIED", "POLICY_DENY"],
  ["interface", { name: "lxc12" }, { name: "eth0" }],
  ["interface", { index: 12 }, { index: 13 }],
  ["node_labels", "zone=a", "zone=b"],
  ["source_cluster_name", "east", "west"],
  ["destination_cluster_name", "west", "east"],
  ["ip_trace_id", "9", "8"],
  ["encrypted", true, false],
];

function matches(field: string, values: readonly JsonValue[], of: JsonObject): boolean {
  return compileFilter(fromJson(FlowFilterSchema, { [field]: [...values] }))(flowFrom(of));
}

describe("compileFilter", () => {
  for (const [field, hit, miss, of = flow] of cases) {
    it(`${field}: ${JSON.stringify(hit)}, not ${JSON.stringify(miss)}`, () => {
      assert.equal(matches(field, [hit], of), true, "must match");
      assert.equal(matches(field, [miss], of), false, "must not match");
      assert.equal(matches(field, [miss, hit], of), true, "any value of a field");
    });
  }

  it("has a case for every field but CEL", () => {
    const tested = new Set(cases.map(([field]) => field));
    assert.deepEqual(
      FlowFilterSchema.fields.map(({ name }) => name).filter((name) => !tested.has(name)),
      ["experimental"],
    );
  });

  it("wants all fields", () => {
    const both = (port: string) => compileFilter(fromJson(FlowFilterSchema, { verdict: ["DROPPED"], destination_port: [port] }));
    assert.equal(both("443")(flowFrom(flow)), true);
    assert.equal(both("80")(flowFrom(flow)), false);
  });

  it("matches no field of an empty flow", () => {
    for (const [field, hit] of cases) {
      if (field !== "encrypted") assert.equal(matches(field, [hit], {}), false, field);
    }
  });

  const wrong: readonly (readonly [string, JsonValue])[] = [
    ["source_ip", "10.0.0.300"],
    ["destination_ip", "10.0.0.0/40"],
    ["http_status_code", "5x"],
    ["http_path", "("],
    ["dns_query", "*"],
    ["protocol", "smtp"],
    ["destination_port", "http"],
    ["source_label", "a in (b"],
    ["destination_fqdn", "a b"],
    ["http_method", "(("],
  ];
  for (const [field, value] of wrong)
    it(`refuses ${field} ${JSON.stringify(value)}`, () => assert.throws(() => matches(field, [value], flow), FilterError));
});

describe("compileFilters", () => {
  const dropped = fromJson(FlowFilterSchema, { verdict: ["DROPPED"] });
  const https = fromJson(FlowFilterSchema, { destination_port: ["443"] });
  it("lets everything through without filters", () => assert.equal(compileFilters([], [])(flowFrom(flow)), true));
  it("wants any of the whitelist", () =>
    assert.equal(compileFilters([fromJson(FlowFilterSchema, { uuid: ["x"] }), dropped], [])(flowFrom(flow)), true));
  it("wants none of the blacklist", () => assert.equal(compileFilters([dropped], [https])(flowFrom(flow)), false));
});
