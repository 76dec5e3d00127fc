import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { auditedBy, auditPlaces } from "./audit.ts";
import { memorySource } from "./objects.ts";
import { createWorld } from "./world.ts";

const mode = (word = "enabled") => ({ annotations: { "policy.cilium.io/audit-mode": word } });
const namespace = (name: string, more: object = {}) => ({ kind: "Namespace", metadata: { name, ...more } });
const pod = (name: string, app: string, more: object = {}) => ({
  kind: "Pod",
  metadata: { name, namespace: "shop", labels: { app }, ...more },
  spec: { nodeName: "n" },
});
const policy = {
  kind: "CiliumNetworkPolicy",
  metadata: { name: "p", namespace: "shop", ...mode() },
  spec: { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{}] },
};
const config = { kind: "ConfigMap", metadata: { name: "cilium-config", namespace: "kube-system" }, data: { "policy-audit-mode": "true" } };
const worldOf = (...objects: object[]) => createWorld(objects.map((object) => ({ object, source: memorySource("m") })));
const by = (objects: object[], audited: string[] = []) =>
  auditedBy(worldOf(policy, ...objects), "CiliumNetworkPolicy/shop/p", new Set(audited)).map(({ title, end }) => `${title}: ${end}`);

describe("what keeps a policy in audit mode besides itself", () => {
  it("is the namespace or the pod that it selects, each with the command that ends it", () => {
    assert.deepEqual(by([namespace("shop"), pod("web-1", "web")]), []);
    assert.deepEqual(by([namespace("shop", mode()), pod("web-1", "web", mode()), pod("api-1", "api", mode())]), [
      "namespace shop: kubectl annotate namespace shop policy.cilium.io/audit-mode-",
      "pod shop/web-1: kubectl -n shop annotate pod web-1 policy.cilium.io/audit-mode-",
    ]);
    assert.deepEqual(by([namespace("other", mode()), namespace("shop", mode("enabld")), pod("web-1", "web")]), []);
  });
  it("is an endpoint's option where no annotation explains what its agent says", () => {
    assert.deepEqual(by([pod("web-1", "web"), pod("web-2", "web", mode())], ["shop/web-1", "shop/web-2", "shop/api-1"]), [
      "pod shop/web-2: kubectl -n shop annotate pod web-2 policy.cilium.io/audit-mode-",
      "endpoint shop/web-1: cilium endpoint config shop/web-1 PolicyAuditMode=Disabled",
    ]);
  });
  it("is the agents' setting", () => {
    const [first, ...more] = by([config, pod("web-1", "web")], ["shop/web-1"]);
    assert.match(
      first ?? "",
      /^the whole cluster \(policy-audit-mode in cilium-config\): kubectl -n kube-system patch configmap cilium-config .*"false"/,
    );
    assert.deepEqual(more, []);
  });
  it("says what is wrong with a misspelt annotation", () =>
    assert.match(
      auditPlaces([{ object: namespace("shop", mode("enabld")), source: memorySource("m") }])[0]?.problem ?? "",
      /found "enabld", allowed are enabled and disabled/,
    ));
});
