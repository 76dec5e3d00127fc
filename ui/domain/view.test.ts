import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { allowingPolicy } from "./allow.ts";
import type { Flow } from "./flow.ts";
import { barsOf } from "./timeline.ts";
import { DEFAULT_VIEW, formatView, parseView, wanted } from "./view.ts";

const dropped: Flow = {
  time: "2026-06-14T13:25:42Z",
  verdict: "DROPPED",
  traffic_direction: "INGRESS",
  source: {
    namespace: "other",
    pod_name: "web-1",
    workloads: [{ name: "web" }],
    labels: ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=other"],
  },
  destination: { namespace: "demo", pod_name: "api-1", workloads: [{ name: "api" }], labels: ["k8s:app=api", "k8s:pod-template-hash=1"] },
  ingress_denied_by: [{ namespace: "demo", name: "default-deny" }],
  l4: { TCP: { source_port: 4000, destination_port: 8080 } },
};

describe("view", () => {
  it("is in the address and back, with only what differs", () => {
    assert.equal(formatView(DEFAULT_VIEW), "/");
    const view = { ...DEFAULT_VIEW, namespace: "demo", verdict: "denied" as const, text: "a b", since: 5, until: 9 };
    assert.deepEqual(parseView(formatView(view).slice(1)), view);
  });

  it("takes nonsense for its default", () => {
    assert.deepEqual(parseView("?verdict=maybe&window=x&since=9&until=5&page=nowhere"), DEFAULT_VIEW);
  });

  it("filters by namespace, verdict, card and words", () => {
    const sees = (part: Partial<typeof DEFAULT_VIEW>) => wanted({ ...DEFAULT_VIEW, ...part })(dropped);
    assert(sees({ namespace: "demo" }) && sees({ namespace: "other" }) && !sees({ namespace: "third" }));
    assert(sees({ verdict: "denied" }) && !sees({ verdict: "forwarded" }));
    assert(sees({ peer: "demo/api" }) && !sees({ peer: "demo/web" }));
    assert(sees({ text: "APP=web api-1" }) && !sees({ text: "app=web db" }));
  });
});

describe("timeline", () => {
  it("counts flows in their stretch of time", () => {
    const from = Date.parse("2026-06-14T13:25:40Z");
    const bars = barsOf(
      [dropped, { ...dropped, verdict: "FORWARDED" }, { ...dropped, time: "2020-01-01T00:00:00Z" }],
      from,
      from + 10_000,
      10,
    );
    assert.deepEqual(
      bars.map(({ forwarded, denied }) => forwarded + denied),
      [0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
    );
    assert.equal(bars[2]?.denied, 1);
  });
});

describe("allow this", () => {
  it("writes a policy for the side that denied, by telling labels and the other's namespace", () => {
    assert.equal(
      allowingPolicy(dropped),
      `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: allow-api-ingress
  namespace: demo
spec:
  endpointSelector:
    matchLabels:
      app: api
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: web
        io.kubernetes.pod.namespace: other
    toPorts:
    - ports:
      - port: "8080"
        protocol: TCP
`,
    );
  });

  it("knows names, entities and HTTP, and quotes what YAML would misread", () => {
    const egress = { ...dropped, traffic_direction: "EGRESS" as const, ingress_denied_by: [] };
    assert.match(
      allowingPolicy({ ...egress, destination_names: ["api.example.com"] }) ?? "",
      /egress:\n {2}- toFQDNs:\n {4}- matchName: api\.example\.com\n/,
    );
    assert.match(allowingPolicy({ ...egress, destination: { labels: ["reserved:world"] } }) ?? "", /- toEntities:\n {4}- world\n/);
    const post = { ...dropped, l7: { http: { method: "POST", url: "http://api/v1.0/x?y" } } };
    assert.match(allowingPolicy(post) ?? "", /- method: POST\n {10}path: "\/v1\\\\\.0\/x"\n/);
    assert.match(allowingPolicy({ ...dropped, source: { namespace: "demo", labels: ["k8s:app=on"] } }) ?? "", /app: "on"\n/);
    assert.equal(allowingPolicy({ ...dropped, destination: { labels: ["reserved:host"] } }), undefined);
  });
});
