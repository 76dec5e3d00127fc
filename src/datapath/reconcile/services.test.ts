import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { maps as specs } from "#datapath/gen/maps.ts";
import { createFakeBpf } from "#ebpf/fake.ts";
import type { Backend, Frontend } from "#loadbalancer/types.ts";
import { addr16Text } from "../addr16.ts";
import { createServiceTarget, type ServiceKernel } from "./services.ts";

const backend = (ip: string, state: Backend["state"] = "active"): Backend => ({ address: { ip, port: 8080, protocol: "TCP" }, state });

const frontend = (ip: string, ...backends: Backend[]): Frontend => ({
  service: { namespace: "default", name: "web" },
  portName: "http",
  type: "ClusterIP",
  address: { ip, port: 80, protocol: "TCP" },
  backends,
  trafficPolicy: "Cluster",
  sourceRanges: [],
});

function createKernel(): ServiceKernel {
  const bpf = createFakeBpf();
  return {
    services: bpf.createMap(specs.ciliumLbServices),
    backends: bpf.createMap(specs.ciliumLbBackends),
    affinityMatch: bpf.createMap(specs.ciliumLbAffinityMatch),
  };
}

/** `10.96.0.1 → 10.0.0.1, 10.0.0.2`, as a socket hook would find it. */
function show({ services, backends }: ServiceKernel): string[] {
  const heads = [...services.entries()].filter(([{ slot }]) => slot === 0);
  return heads
    .map(([key, { count }]) => {
      const chosen = Array.from({ length: count }, (_, i) => {
        const id = services.get({ ...key, slot: i + 1 })?.backendId ?? 0;
        const address = backends.get(id)?.address;
        return address ? addr16Text(address) : "missing";
      });
      return `${addr16Text(key.address)} → ${chosen.sort().join(", ")}`;
    })
    .sort();
}

describe("createServiceTarget", () => {
  it("writes a service with the backends that get new connections", () => {
    const kernel = createKernel();
    const target = createServiceTarget(kernel, { nodeName: "n1" });
    target.update(
      frontend("10.96.0.1", backend("10.0.0.1"), backend("10.0.0.2", "terminating"), backend("10.0.0.3", "not-ready")),
      undefined,
    );
    assert.deepEqual(show(kernel), ["10.96.0.1 → 10.0.0.1"]);
    target.update(frontend("10.96.0.1"), undefined);
    assert.deepEqual(show(kernel), ["10.96.0.1 → "]);
  });
  it("leaves no slot and no backend behind when a service shrinks or goes", () => {
    const kernel = createKernel();
    const target = createServiceTarget(kernel, { nodeName: "n1" });
    target.update(frontend("10.96.0.1", backend("10.0.0.1"), backend("10.0.0.2")), undefined);
    target.update(frontend("10.96.0.2", backend("10.0.0.2")), undefined);
    target.update(frontend("10.96.0.1", backend("10.0.0.1")), undefined);
    assert.deepEqual(show(kernel), ["10.96.0.1 → 10.0.0.1", "10.96.0.2 → 10.0.0.2"]);
    assert.equal([...kernel.services.keys()].length, 4);
    target.remove(frontend("10.96.0.2"));
    target.remove(frontend("10.96.0.1"));
    assert.deepEqual([[...kernel.services.keys()].length, [...kernel.backends.keys()].length], [0, 0]);
  });
  it("keeps numbers over a restart, so that living connections keep their backend", () => {
    const kernel = createKernel();
    const web = frontend("10.96.0.1", backend("10.0.0.1"), backend("10.0.0.2"));
    createServiceTarget(kernel, { nodeName: "n1" }).update(web, undefined);
    const before = [...kernel.backends.entries()].map(([id, { address }]) => [id, addr16Text(address)]);
    const restarted = createServiceTarget(kernel, { nodeName: "n1" });
    restarted.update(frontend("10.96.0.9", backend("10.0.0.9")), undefined);
    restarted.update(web, undefined);
    assert.deepEqual(
      [...kernel.backends.entries()].slice(0, 2).map(([id, { address }]) => [id, addr16Text(address)]),
      before,
    );
    restarted.update(frontend("10.96.0.1", backend("10.0.0.2")), undefined);
    assert.deepEqual(show(kernel), ["10.96.0.1 → 10.0.0.2", "10.96.0.9 → 10.0.0.9"]);
    assert.equal([...kernel.backends.keys()].length, 2);
  });
  it("prunes services that went while the agent was away", () => {
    const kernel = createKernel();
    createServiceTarget(kernel, { nodeName: "n1" }).update(frontend("10.96.0.1", backend("10.0.0.1")), undefined);
    const restarted = createServiceTarget(kernel, { nodeName: "n1" });
    const present = frontend("10.96.0.2", backend("10.0.0.2"));
    restarted.update(present, undefined);
    restarted.prune?.([present]);
    assert.deepEqual(show(kernel), ["10.96.0.2 → 10.0.0.2"]);
    assert.equal([...kernel.backends.keys()].length, 1);
  });
});
