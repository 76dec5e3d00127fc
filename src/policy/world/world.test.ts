import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cidrLabels } from "#identity/cidr.ts";
import { Prefix } from "#types/prefix.ts";
import { verdict } from "../resolve/verdict.ts";
import { memorySource, type SourcedObject } from "./objects.ts";
import { createWorld } from "./world.ts";

const sourced = (...objects: unknown[]): SourcedObject[] => objects.map((object) => ({ object, source: memorySource("test") }));
const pod = (name: string, labels: object, more: object = {}) => ({
  kind: "Pod",
  metadata: { name, namespace: "shop", labels, ownerReferences: [{ kind: "ReplicaSet", name: "web-abc", controller: true }] },
  spec: { containers: [{ ports: [{ name: "http", containerPort: 8080 }] }] },
  status: { podIP: "10.0.0.1" },
  ...more,
});
const deployment = (name: string, labels: object) => ({
  kind: "Deployment",
  metadata: { name, namespace: "shop" },
  spec: { template: { metadata: { labels }, spec: {} } },
});
const policy = (spec: object) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "p", namespace: "shop" },
  spec,
});

describe("createWorld", () => {
  it("takes pods, Lists and templates, and a template only where none of its pods is there", () => {
    const list = { kind: "PodList", items: [{ ...pod("web-abc-1", { app: "web", "pod-template-hash": "abc" }), kind: undefined }] };
    const { endpoints } = createWorld(sourced(list, deployment("web", { app: "web" }), deployment("api", { app: "api" })));
    assert.deepEqual(
      endpoints.map(({ name, workload }) => [name, workload.kind, workload.name]),
      [
        ["web-abc-1", "Deployment", "web"],
        ["api", "Deployment", "api"],
      ],
    );
    assert.ok(endpoints[0]?.identityLabels.texts.includes("k8s:app=web"));
    assert.ok(endpoints[0]?.identityLabels.texts.every((text) => !text.includes("pod-template-hash")));
    assert.notEqual(endpoints[0]?.identity, endpoints[1]?.identity);
  });

  it("decides as an agent with the cluster's settings would, for identities that come later too", () => {
    const config = { kind: "ConfigMap", metadata: { name: "cilium-config" }, data: { "cluster-name": "west", labels: "!tier" } };
    const cidr = policy({ endpointSelector: {}, egress: [{ toCIDR: ["10.1.0.0/16"] }] });
    const world = createWorld(sourced(config, cidr, deployment("web", { app: "web", tier: "x" })));
    const [web] = world.endpoints;
    assert.ok(web);
    assert.ok(web.identityLabels.texts.includes("k8s:io.cilium.k8s.policy.cluster=west"));
    assert.ok(!web.identityLabels.texts.includes("k8s:tier=x"));
    const resolved = world.policyOf({ identity: web.identity, labels: web.identityLabels, namedPorts: [] });
    const outcome = (block: string) => {
      const identity = world.identityFor(cidrLabels(Prefix(block), world.settings));
      return verdict(resolved, { direction: "egress", identity, protocol: 6, port: 1 }).verdict;
    };
    assert.deepEqual([outcome("10.1.2.0/24"), outcome("10.2.0.0/16")], ["allowed", "denied"]);
  });

  it("uses the numbers of CiliumIdentities, and leaves host pods to their node", () => {
    const found = createWorld(sourced(deployment("web", { app: "web" }), pod("x", {}, { spec: { hostNetwork: true } })));
    const record = Object.fromEntries(
      found.endpoints[0]?.identityLabels.labels.map((one) => [`${one.source}:${one.key}`, one.value]) ?? [],
    );
    const identity = { kind: "CiliumIdentity", metadata: { name: "4242" }, "security-labels": record };
    assert.equal(createWorld(sourced(identity, deployment("web", { app: "web" }))).endpoints[0]?.identity, 4242);
    assert.equal(found.endpoints.length, 1);
    assert.equal(found.hostPods.length, 1);
  });

  it("knows the label that every namespace has, written in its manifest or not", () => {
    const bare = { kind: "Namespace", metadata: { name: "shop", labels: { team: "x" } } };
    const [web] = createWorld(sourced(bare, deployment("web", { app: "web" }))).endpoints;
    for (const one of ["kubernetes.io/metadata.name=shop", "team=x"])
      assert.ok(web?.identityLabels.texts.includes(`k8s:io.cilium.k8s.namespace.labels.${one}`), one);
  });

  it("takes anything without throwing", () => {
    const odd = [
      null,
      3,
      "x",
      [],
      {},
      { kind: "Pod" },
      { kind: "List", items: [null, { kind: "Service", spec: { ports: "x" } }] },
      { kind: "Node", status: 3 },
    ];
    assert.doesNotThrow(() => createWorld(sourced(...odd)));
  });
});
