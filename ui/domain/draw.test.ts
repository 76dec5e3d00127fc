import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Arrow, drawn, type End, NO_DRAFT, portProblem, refusal, WORLD, written } from "./draw.ts";

const end = (namespace: string, name: string, labels = [`k8s:app=${name}`]): End => ({
  id: `${namespace}/${name}`,
  namespace,
  name,
  labels,
});
const ENDS = new Map(
  [end("demo", "web"), end("demo", "api"), end("ops", "cron"), end("demo", "bare", []), WORLD].map((one) => [one.id, one]),
);
const arrow = (from: string, to: string, ports = ""): Arrow => ({ from, to, ports });

describe("a drawn policy", () => {
  it("is one for each workload that is called, with who may call it on which ports", () => {
    const { text } = drawn(NO_DRAFT, [arrow("demo/web", "demo/api", "80/tcp, 8000-8080"), arrow("ops/cron", "demo/api")], ENDS);
    assert.equal(
      text,
      `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: api-ingress
  namespace: demo
spec:
  endpointSelector:
    matchLabels:
      app: api
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: web
    toPorts:
    - ports:
      - port: "80"
        protocol: TCP
      - port: "8000"
        endPort: 8080
        protocol: TCP
  - fromEndpoints:
    - matchLabels:
        app: cron
        io.kubernetes.pod.namespace: ops
`,
    );
  });

  it("is one of what leaves, for the world", () => {
    const { text } = drawn(NO_DRAFT, [arrow("demo/web", "world", "443")], ENDS);
    assert.match(text, /name: web-egress[\s\S]*egress:\n {2}- toEntities:\n {4}- world\n {4}toPorts:/);
  });

  it("comes after what was written by hand, and is drawn anew with the next arrow", () => {
    const first = drawn(written("kind: X"), [arrow("demo/web", "demo/api")], ENDS);
    assert.match(first.text, /^kind: X\n---\napiVersion/);
    const second = drawn(first, [...first.arrows, arrow("world", "demo/web")], ENDS);
    assert.equal(second.text.split("---\n").length, 3);
    assert.equal(drawn(second, [], ENDS).text, "kind: X\n");
    assert.deepEqual(written(second.text).arrows, []);
  });

  it("needs a workload at one end, and labels that select it", () => {
    const [web, bare] = [ENDS.get("demo/web"), ENDS.get("demo/bare")];
    assert(web && bare);
    assert.equal(refusal(web, WORLD), undefined);
    assert.match(refusal(WORLD, WORLD) ?? "", /workload/);
    assert.match(refusal(web, bare) ?? "", /demo\/bare has no label/);
    assert.equal(drawn(NO_DRAFT, [arrow("world", "world"), arrow("demo/gone", "demo/web")], ENDS).text, "");
  });

  for (const [ports, wrong] of [
    ["", false],
    ["80", false],
    ["53/UDP 80-90/TCP,7/sctp", false],
    ["0", true],
    ["65536", true],
    ["90-80", true],
    ["http", true],
    ["80/ICMP", true],
  ] as const) {
    it(`${wrong ? "refuses" : "takes"} the ports "${ports}"`, () => assert.equal(portProblem(ports) !== undefined, wrong));
  }
});
