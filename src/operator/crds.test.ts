import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createFakeCluster } from "#k8s/fake.ts";
import { CUSTOM_RESOURCE_DEFINITIONS } from "#k8s/resources.ts";
import { silentLogger } from "#runtime/logger.ts";
import { applyDefinitions, readDefinitions } from "./crds.ts";

const status = { conditions: [{ type: "Established", status: "True" as const }] };

describe("applyDefinitions", () => {
  it("leaves a definition of ClusterNetworkPolicy that is not Cilium's alone, and brings its own up to date", async () => {
    using cluster = createFakeCluster();
    const all = await readDefinitions(new URL("../../api/crds/", import.meta.url));
    const wanted = all.filter(({ metadata }) => /^(clusternetworkpolicies|ciliumnodes)\./.test(metadata.name));
    assert.equal(wanted.length, 2);
    for (const { metadata } of wanted) {
      await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, { metadata: { name: metadata.name }, status } as never);
    }
    const established = wanted.map((definition) => ({ ...definition, status }));
    await applyDefinitions({ cluster, log: silentLogger }, established, new AbortController().signal);
    assert.deepEqual(
      cluster.writes.filter((write) => write.startsWith("UPDATE")),
      ["UPDATE customresourcedefinitions ciliumnodes.cilium.io"],
    );
  });
});
