import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clusterSource } from "#policy/world/objects.ts";
import { createWorld } from "#policy/world/world.ts";
import { type Snapshot, totals } from "./cluster-view.ts";
import { policyList, policyText } from "./policy-list.ts";
import { refusal, reviewText } from "./review.ts";

const pod = (name: string) => ({
  kind: "Pod",
  metadata: { name, namespace: "demo", labels: { app: name } },
  spec: {},
  status: { podIP: `10.0.0.${name.length}` },
});
const stored = {
  kind: "CiliumNetworkPolicy",
  metadata: { name: "web", namespace: "demo", managedFields: [{ manager: "x" }] },
  spec: { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "front" } }] }] },
};
const text = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: web, namespace: demo }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints:
    - matchLabels: { app: front }
    toPorts:
    - ports: [{ port: "80", protocol: TCP }]
`;

const usage = (node: string, rules: Record<string, number>) => ({
  kind: "CiliumPolicyUsage",
  metadata: { name: node },
  policies: { "CiliumNetworkPolicy/demo/web": { packets: 4, lastHit: `2026-01-0${node}T00:00:00Z`, rules } },
});

function snapshot(): Snapshot {
  const sourced = (object: unknown) => ({ object, source: clusterSource });
  const [policies, subjects] = [[sourced(stored)], ["web", "front", "other"].map((name) => sourced(pod(name)))];
  const counts = totals([usage("1", { "ingress[0]": 3 }), usage("2", { "ingress[0]": 4, "ingress default deny": 1 })]);
  return { policies, subjects, world: createWorld([...policies, ...subjects]), usage: counts };
}

describe("the policies of the page", () => {
  it("are listed with whom they select and the hits of all nodes", () => {
    const [row] = policyList(snapshot());
    assert.deepEqual(row?.selects, ["demo/web"]);
    assert.deepEqual(row?.rules, [
      { rule: "ingress[0]", hits: 7 },
      { rule: "ingress default deny", hits: 1 },
    ]);
    assert.deepEqual([row?.packets, row?.lastHit], [8, "2026-01-02T00:00:00Z"]);
  });
  it("are shown as YAML without what the API server adds, with the lines of their rules", () => {
    const found = policyText(snapshot(), "CiliumNetworkPolicy/demo/web");
    assert.match(found?.yaml ?? "", /^apiVersion: cilium.io\/v2\nkind: CiliumNetworkPolicy\n/);
    assert.doesNotMatch(found?.yaml ?? "", /managedFields/);
    assert.match(found?.yaml.split("\n")[(found.lines["ingress[0]"] ?? 0) - 1] ?? "", /^ +- fromEndpoints:/);
    assert.equal(policyText(snapshot(), "CiliumNetworkPolicy/demo/none"), undefined);
  });
});

describe("reviewText", () => {
  it("says whom a policy selects and what it allows", () => {
    const { problems, policies, allows } = reviewText(text, snapshot());
    assert.deepEqual(problems, []);
    assert.deepEqual(policies, [{ key: "CiliumNetworkPolicy/demo/web", replaces: true, selects: ["demo/web"] }]);
    assert.deepEqual(
      allows.map(({ subject, direction, peers }) => [subject, direction, peers.filter(({ what }) => what === "80/TCP")]),
      [["demo/web", "ingress", [{ what: "80/TCP", who: ["demo/front"] }]]],
    );
  });
  it("names the line of what is refused", () => {
    const bad = text.replace('"80"', '"80000"');
    const [problem] = reviewText(bad, snapshot()).problems;
    assert.deepEqual([problem?.severity, problem?.id, problem?.line], ["error", "L00", 10]);
    assert.match(refusal(bad) ?? "", /^CiliumNetworkPolicy\/demo\/web is refused: spec\.ingress\[0\]/);
    assert.equal(refusal(text), undefined);
  });
  it("names the line of what is no YAML, and passes over what is no policy", () => {
    const [broken] = reviewText("kind: CiliumNetworkPolicy\n  a: [", snapshot()).problems;
    assert.deepEqual([broken?.id, broken?.severity, typeof broken?.line], ["YAML", "error", "number"]);
    assert.match(reviewText("kind: Secret\n", snapshot()).problems[0]?.message ?? "", /^Secret is no network policy/);
    assert.match(refusal("kind: Secret\n") ?? "", /^Secret is no network policy/);
    assert.equal(refusal(""), "there is no network policy in the text");
  });
});
