import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addToEdges, deniedBy, type Edge, type Flow, inNamespace, peerName } from "./flow.ts";

const get: Flow = {
  verdict: "FORWARDED",
  source: { namespace: "demo", pod_name: "frontend-1", workloads: [{ name: "frontend" }] },
  destination: { namespace: "demo", pod_name: "backend-1", workloads: [{ name: "backend" }] },
  l4: { TCP: { source_port: 40000, destination_port: 80 } },
  l7: { http: { method: "GET", url: "http://backend/get?x=1" } },
};

describe("peerName", () => {
  it("prefers the workload, then the reserved name with what is known of the address", () => {
    assert.equal(peerName(get, "source"), "demo/frontend");
    assert.equal(
      peerName({ destination: { labels: ["reserved:world"] }, IP: { destination: "198.51.100.7" } }, "destination"),
      "198.51.100.7 (world)",
    );
  });
});

describe("addToEdges", () => {
  it("sums up one connection between two workloads, with methods and paths, replies left out", () => {
    const edges = new Map<string, Edge>();
    for (const flow of [get, { ...get, is_reply: true }, { ...get, verdict: "DROPPED" }]) addToEdges(edges, flow);
    const [edge] = [...edges.values()];
    assert.equal(edges.size, 1);
    assert.deepEqual(
      { ...edge, http: [...(edge?.http ?? [])] },
      {
        source: "demo/frontend",
        destination: "demo/backend",
        port: "80/TCP",
        http: ["GET /get"],
        forwarded: 1,
        dropped: 1,
      },
    );
  });
});

describe("deniedBy and inNamespace", () => {
  it("name policy and direction, and either side's namespace", () => {
    assert.equal(
      deniedBy({ ingress_denied_by: [{ namespace: "demo", name: "deny" }], egress_denied_by: [{ name: "wide" }] }),
      "demo/deny (ingress), wide (egress)",
    );
    assert.ok(inNamespace(get, "demo") && inNamespace(get, "") && !inNamespace(get, "other"));
  });
});
