import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePort } from "./connection.ts";
import { findParty } from "./find.ts";
import { behindNodePort, forwarder } from "./node-port.ts";
import { memorySource } from "./objects.ts";
import { createWorld } from "./world.ts";

function worldOf(spec: object, config: object = {}) {
  const objects = [
    { kind: "Deployment", metadata: { name: "web", namespace: "shop" }, spec: { template: { metadata: { labels: { app: "web" } } } } },
    {
      kind: "Service",
      metadata: { name: "web", namespace: "shop" },
      spec: { type: "NodePort", selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }], ...spec },
      status: { loadBalancer: { ingress: [{ ip: "192.0.2.9" }] } },
    },
    ...["n1", "n2"].map((name, i) => ({ kind: "Node", metadata: { name }, status: { addresses: [{ address: `192.168.0.${i + 1}` }] } })),
    { kind: "ConfigMap", metadata: { name: "cilium-config" }, data: config },
  ];
  return createWorld(objects.map((object) => ({ object, source: memorySource("test") })));
}

function found(world: ReturnType<typeof worldOf>, text: string) {
  const one = findParty(world, text);
  assert.ok("parties" in one);
  return one;
}

describe("a node port", () => {
  const world = worldOf({});
  const behind = (to: string, port: string) => {
    const asked = parsePort(port);
    assert.ok(asked);
    const one = behindNodePort(world, found(world, to), asked);
    return one && "parties" in one.found ? [one.found.service?.name, one.asked.port] : undefined;
  };

  it("is a port of its service, on every node and for its own protocol", () => {
    assert.deepEqual(behind("192.168.0.2", "30080"), ["web", 80]);
    assert.deepEqual(behind("node/n1", "30080/tcp"), ["web", 80]);
    assert.equal(behind("192.168.0.2", "30080/udp"), undefined);
    assert.equal(behind("192.168.0.2", "30081"), undefined);
    assert.equal(behind("shop/web", "30080"), undefined);
  });

  it("lets pods see the node that forwards instead of the client, but not with DSR, nor where nothing is forwarded", () => {
    const sees = (where: typeof world, from = "203.0.113.7", protocol = 6) =>
      found(where, from).parties.map((one) => forwarder(where, one, found(where, "192.0.2.9").service, protocol)?.title)[0];
    assert.equal(sees(world), "203.0.113.7 by way of another node");
    assert.equal(sees(world, "world"), "world by way of another node");
    assert.equal(sees(world, "shop/web"), undefined);
    assert.equal(sees(world, "node/n1"), undefined);
    assert.equal(sees(worldOf({ externalTrafficPolicy: "Local" })), undefined);
    assert.equal(sees(worldOf({ type: "ClusterIP" })), undefined);
    assert.equal(sees(worldOf({}, { "bpf-lb-mode": "dsr" })), undefined);
    const hybrid = worldOf({}, { "bpf-lb-mode": "hybrid" });
    assert.deepEqual([sees(hybrid), sees(hybrid, "world", 17)], [undefined, "world by way of another node"]);
  });
});
