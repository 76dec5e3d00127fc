import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createFakeCluster } from "#k8s/fake.ts";
import { CILIUM_NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES } from "#k8s/resources.ts";
import type { CiliumPolicyUsage, PolicyObject } from "#k8s/types.ts";
import { updatePolicyUsage } from "./policy-usage.ts";

const KEY = "CiliumNetworkPolicy/default/p";
const usage = (node: string, policies: CiliumPolicyUsage["policies"]): CiliumPolicyUsage => ({
  metadata: { name: node },
  policies: policies ?? {},
});

describe("updatePolicyUsage", () => {
  it("adds up what the nodes tell, and writes only what says something new", async () => {
    const cluster = createFakeCluster();
    await cluster.create(CILIUM_NETWORK_POLICIES, { metadata: { name: "p", namespace: "default" }, spec: {} });
    const round = async (...usages: CiliumPolicyUsage[]) => {
      const { items } = await cluster.list(CILIUM_NETWORK_POLICIES);
      const objects = new Map(items.map((item): [string, PolicyObject] => [item.metadata.name, item]));
      const written = await updatePolicyUsage(cluster, [{ resource: CILIUM_NETWORK_POLICIES, objects }], usages);
      const policy = await cluster.get(CILIUM_NETWORK_POLICIES, { namespace: "default", name: "p" });
      return [written, policy.status?.usage];
    };
    const [a, b] = [
      usage("a", { [KEY]: { endpoints: 2, packets: 5, lastHit: "2026-01-01T00:00:00Z" } }),
      usage("b", { [KEY]: { endpoints: 0, packets: 3, audited: 1, lastHit: "2026-01-02T00:00:00Z" } }),
    ];
    const total = { nodes: 1, endpoints: 2, packets: 8, audited: 1, lastHit: "2026-01-02T00:00:00Z" };
    assert.deepEqual(await round(a, b), [1, total]);
    assert.deepEqual(await round(a, b), [0, total]);
    const [written, status] = await round(a, usage("b", { [KEY]: { endpoints: 1, packets: 4 } }));
    assert.deepEqual([written, (status as { nodes?: number }).nodes, (status as { packets?: number }).packets], [1, 2, 9]);
  });
  it("writes to another project's kind after its condition, and leaves the kind alone when its definition drops usage", async () => {
    const cluster = createFakeCluster();
    await cluster.create(CLUSTER_NETWORK_POLICIES, { metadata: { name: "p" }, spec: {} });
    const without = new Set<string>();
    const round = async (store: object = {}) => {
      const { items } = await cluster.list(CLUSTER_NETWORK_POLICIES);
      const objects = new Map(items.map((item): [string, PolicyObject] => [item.metadata.name, item]));
      const stores = [{ resource: CLUSTER_NETWORK_POLICIES, objects, foreign: true, ...store }];
      return updatePolicyUsage(cluster, stores, [usage("a", { "ClusterNetworkPolicy//p": { endpoints: 1, packets: 5 } })], without);
    };
    assert.equal(await round(), 0);
    await cluster.patch(CLUSTER_NETWORK_POLICIES, { name: "p" }, "merge", { status: { conditions: [] } });
    assert.equal(await round(), 1);
    assert.equal((await cluster.get(CLUSTER_NETWORK_POLICIES, { name: "p" })).status?.usage?.packets, 5);
    await cluster.patch(CLUSTER_NETWORK_POLICIES, { name: "p" }, "merge", { status: { usage: null } });
    without.add("ClusterNetworkPolicy");
    assert.equal(await round(), 0);
  });
  it("leaves most of many changes for the next rounds", async () => {
    const cluster = createFakeCluster();
    for (let i = 0; i < 130; i += 1)
      await cluster.create(CILIUM_NETWORK_POLICIES, { metadata: { name: `p${i}`, namespace: "default" }, spec: {} });
    const round = async () => {
      const { items } = await cluster.list(CILIUM_NETWORK_POLICIES);
      return updatePolicyUsage(
        cluster,
        [{ resource: CILIUM_NETWORK_POLICIES, objects: new Map(items.map((item) => [item.metadata.name, item])) }],
        [],
      );
    };
    assert.deepEqual([await round(), await round(), await round()], [100, 30, 0]);
  });
});
