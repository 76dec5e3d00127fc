import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { labelSet } from "#labels/label-set.ts";
import { NumericIdentity } from "#types/identity.ts";
import { parsePolicy } from "../parse/parse.ts";
import { createSelectorCache, type SelectorCache } from "../selectors/selector-cache.ts";
import { settingsWith } from "../settings.ts";
import { createRepository } from "./repository.ts";
import { type EndpointPolicy, resolveEndpoint, type Subject } from "./resolve.ts";

const host: Subject = { identity: NumericIdentity(1), labels: labelSet(["reserved:host"]), namedPorts: [] };
const pod: Subject = {
  identity: NumericIdentity(1001),
  labels: labelSet(["k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.kubernetes.pod.namespace=shop"]),
  namedPorts: [],
};

/** The policy of the pod under these egress rules. */
function policyOf(...egress: object[]): EndpointPolicy {
  return policyIn(createSelectorCache(), ...egress);
}

/** The policy of the pod under these egress rules, among these identities. */
function policyIn(cache: SelectorCache, ...egress: object[]): EndpointPolicy {
  const metadata = { name: "one", namespace: "shop" };
  const parsed = parsePolicy({
    ...{ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec: { endpointSelector: {}, egress } },
  });
  assert.deepEqual(parsed.issues, []);
  return resolveEndpoint(createRepository().with(parsed), cache, pod);
}

describe("what Cilium's sources say of merging and enforcing", () => {
  it("keeps a peer's own listener beside everybody's of equal priority", () => {
    const by = (name: string, peers: object) => {
      const listener = { envoyConfig: { name: "c", kind: "CiliumClusterwideEnvoyConfig" }, name };
      return { ...peers, toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], listener }] };
    };
    const rows = policyOf(by("all", {}), by("own", { toEntities: ["world"] }))
      .entries()
      .filter(({ direction }) => direction === "egress");
    assert.equal(rows.find((one) => one.identity === 2)?.proxy?.listener, "/c/own");
    assert.equal(rows.find((one) => one.identity === 0)?.proxy?.listener, "/c/all");
  });

  it("has no way to merge an authentication without a mode with one that has it", () => {
    const by = (authentication: object) => ({ toEndpoints: [{}], authentication });
    assert.notEqual(policyOf(by({}), by({ mode: "required" })).error, undefined);
    assert.equal(policyOf(by({}), by({})).error, undefined);
    assert.equal(policyOf({ toEndpoints: [{}] }, by({})).error, undefined);
  });

  it("asks a redirect for the authentication of the peer's wider rule, plain as that is", () => {
    const toPorts = [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }];
    const wider = { toEndpoints: [{ matchLabels: { app: "web" } }], authentication: { mode: "required" } };
    const narrow = { toEndpoints: [{ matchExpressions: [{ key: "app", operator: "NotIn", values: ["db"] }] }], toPorts };
    const cache = createSelectorCache();
    const peer = NumericIdentity(1002);
    cache.update({
      add: [
        { id: peer, labels: labelSet(["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop", "k8s:io.cilium.k8s.policy.cluster=default"]) },
      ],
    });
    const row = policyIn(cache, wider, narrow)
      .entriesFor(peer)
      .find((one) => one.port === 80);
    assert.deepEqual(row?.auth, { type: "spire", explicit: false });
    assert.equal(row?.proxy?.parser, "http");
  });

  it("enforces on the host where the mode is always, behind the host firewall only", () => {
    for (const hostFirewall of [true, false]) {
      const repo = createRepository(settingsWith({ enforcement: "always", hostFirewall }));
      assert.equal(resolveEndpoint(repo, createSelectorCache(), host).egress.defaultDeny, hostFirewall);
    }
  });
});
