import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromJson, type JsonObject } from "@bufbuild/protobuf";
import { FlowFilterSchema, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { compileFilter } from "./build.ts";
import { FilterError } from "./text.ts";

const drop: JsonObject = {
  time: "2026-06-14T13:25:42Z",
  verdict: "DROPPED",
  is_reply: true,
  IP: { source: "10.0.2.7", destination: "198.51.100.7" },
  l4: { TCP: { destination_port: 443, flags: { SYN: true } } },
  source: { identity: 4208, namespace: "default", pod_name: "tie-1", labels: ["k8s:app=tie", "k8s:org=empire"] },
  drop_reason_desc: "POLICY_DENIED",
};
const request: JsonObject = { verdict: "FORWARDED", l7: { http: { method: "GET", url: "http://x/v1", code: 503 } } };

function matches(expressions: readonly string[], flow: JsonObject): boolean {
  return compileFilter(create(FlowFilterSchema, { experimental: { celExpression: [...expressions] } }))(fromJson(FlowSchema, flow));
}

describe("a CEL expression", () => {
  const cases: readonly (readonly [string, JsonObject, boolean])[] = [
    ["_flow.verdict == Verdict.DROPPED", drop, true],
    ["_flow.verdict == flow.Verdict.DROPPED", request, false],
    ["_flow.source.identity == 4208u && _flow.l4.TCP.flags.SYN", drop, true],
    ["_flow.source.labels.exists(l, l.matches('org=emp.*$'))", drop, true],
    ["_flow.source.labels.all(l, l.startsWith('k8s:'))", drop, true],
    ["_flow.source.labels.exists(l, _flow.destination.labels.exists(m, l == m))", drop, false],
    ["has(_flow.l7.http) && _flow.l7.http.code >= 500u", request, true],
    ["has(_flow.l7.http) && _flow.l7.http.code >= 500u", drop, false],
    ["_flow.is_reply", drop, true],
    ["_flow.time > timestamp('2026-01-01T00:00:00Z')", drop, true],
    ["_flow.IP.destination in ['198.51.100.7', '::1']", drop, true],
    ["_flow.drop_reason_desc == DropReason.POLICY_DENIED", drop, true],
    ["!_flow.source.pod_name.matches('^tie-[0-9]+$')", drop, false],
    ["_flow.source.labels[1] == 'k8s:org=empire'", drop, true],
    // It fails for this flow, and so does not match.
    ["_flow.source.labels[1] == 'k8s:org=empire'", request, false],
  ];
  for (const [expression, flow, expected] of cases) {
    it(`${expression} ${expected ? "matches" : "does not match"} ${flow.verdict}`, () =>
      assert.equal(matches([expression], flow), expected));
  }

  it("is one of several, of which one must be true", () => {
    assert.equal(matches(["false", "_flow.verdict == Verdict.DROPPED"], drop), true);
  });

  const refused: readonly (readonly [string, RegExp])[] = [
    ["1 +", /"1 \+": <input>:1:3: found/],
    ["_flow.nonsense == 1", /flow\.Flow has no field nonsense/],
    ["_flow.source.labels.exists(l, _flow.source.pod == l)", /flow\.Endpoint has no field pod/],
    ["verdict == 1", /unresolved/],
    ["_flow.uuid", /the answer must be true or false/],
    ["_flow.uuid > 1", /overload/],
    ["_flow.uuid.matches('(')", /is no regular expression/],
    [`_flow.uuid == '${"x".repeat(5000)}'`, /longer than 4096 characters/],
    [`${"_flow.node_labels.all(a, ".repeat(4)}true${")".repeat(4)}`, /nest fewer loops/],
    [`[${"0,".repeat(900)}0].all(a, [${"0,".repeat(900)}0].all(b, true))`, /nest fewer loops/],
    [`${"(".repeat(4000)}`, /cel_expression/],
  ];
  for (const [expression, message] of refused) {
    it(`${expression.slice(0, 60)} is refused`, () =>
      assert.throws(
        () => matches([expression], drop),
        (thrown) => thrown instanceof FilterError && message.test(thrown.message),
      ));
  }

  it("that backtracking would never finish is answered at once", () => {
    const flow = { ...drop, node_name: `${"a".repeat(5000)}!` };
    assert.equal(matches(["_flow.node_name.matches('^(a+)+$')"], flow), false);
  });
});
