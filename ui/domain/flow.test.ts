import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deniedBy, type Flow, peerOf, requestText, ruleText, servedPort } from "./flow.ts";

const get: Flow = {
  verdict: "FORWARDED",
  source: { namespace: "demo", pod_name: "frontend-1", workloads: [{ name: "frontend" }] },
  destination: { namespace: "demo", pod_name: "backend-1", workloads: [{ name: "backend" }] },
  l4: { TCP: { source_port: 40000, destination_port: 80 } },
  l7: { http: { method: "GET", url: "http://backend/get?x=1" } },
};
const world = { destination: { labels: ["reserved:world"] }, IP: { destination: "198.51.100.7" } };

describe("a flow's ends", () => {
  it("are workloads, services, names and addresses of the world, or reserved", () => {
    assert.deepEqual(peerOf(get, "source"), { id: "demo/frontend", kind: "workload", namespace: "demo", name: "frontend" });
    assert.deepEqual(peerOf(world, "destination"), { id: ":198.51.100.7", kind: "world", namespace: "", name: "198.51.100.7" });
    assert.equal(peerOf({ ...world, destination_names: ["api.example.com"] }, "destination").name, "api.example.com");
    assert.equal(peerOf({ destination: { labels: ["reserved:host"] } }, "destination").kind, "reserved");
    assert.equal(peerOf({ ...world, destination_service: { namespace: "demo", name: "web" } }, "destination").kind, "service");
  });

  it("of one Deployment are one, also where a node does not know whose pod it is", () => {
    const name = (pod_name: string) => peerOf({ source: { namespace: "demo", pod_name } }, "source").name;
    assert.equal(name("frontend-6f87496b94-9ltxh"), "frontend");
    assert.equal(name("web-front-xnqvzdb48m-4mlfl"), "web-front");
    for (const pod of ["postgres-0", "cilium-lv5sn", "tiefighter", "my-production-shell"]) assert.equal(name(pod), pod);
  });

  it("the served port is that of who was connected to, in replies too", () => {
    assert.equal(servedPort(get), "80/TCP");
    assert.equal(servedPort({ is_reply: true, l4: { UDP: { source_port: 53, destination_port: 40000 } } }), "53/UDP");
    assert.equal(servedPort({ l4: { ICMPv4: { type: 8 } } }), "ICMPv4");
  });
});

describe("a flow in words", () => {
  it("names the request without its query, the policies and the rule", () => {
    assert.equal(requestText(get), "GET /get");
    assert.equal(requestText({ l7: { dns: { query: "api.example.com." } } }), "api.example.com.");
    assert.deepEqual(deniedBy({ ingress_denied_by: [{ namespace: "demo", name: "deny" }], egress_denied_by: [{ name: "wide" }] }), [
      "demo/deny (ingress)",
      "wide (egress)",
    ]);
    assert.equal(
      ruleText({ name: "wide", section: "egressDeny", index: 2, direction: "egress", line: 7 }),
      "wide (egress) rule 2 of egressDeny, line 7",
    );
  });
});
