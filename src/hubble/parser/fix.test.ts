import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEATHSTAR, demoNames, RULE1, TIEFIGHTER } from "../fixtures.ts";
import type { DenialQuestion } from "../names.ts";
import { suggestFix } from "./fix.ts";

const ingress: DenialQuestion = { endpointId: DEATHSTAR.id, direction: "ingress", remoteIdentity: 4208, protocol: 6, port: 80 };
const egress: DenialQuestion = { ...ingress, direction: "egress" };

describe("suggestFix", () => {
  const cases: readonly (readonly [string, readonly string[], DenialQuestion, string | undefined])[] = [
    [
      "a pod of the same namespace",
      TIEFIGHTER.labels,
      ingress,
      'allow it with ingress: [{fromEndpoints: [{matchLabels: {"class": "tiefighter", "org": "empire"}}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]',
    ],
    [
      "a pod of another namespace",
      ["k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.kubernetes.pod.namespace=shop"],
      { ...egress, protocol: 17, port: 53 },
      'allow it with egress: [{toEndpoints: [{matchLabels: {"app": "web", "k8s:io.kubernetes.pod.namespace": "shop"}}], toPorts: [{ports: [{port: "53", protocol: UDP}]}]}]',
    ],
    [
      "the world",
      ["reserved:world"],
      egress,
      'allow it with egress: [{toEntities: [world], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]',
    ],
    [
      "an address",
      ["cidr:198.51.100.7/32", "reserved:world"],
      { ...ingress, protocol: 1, port: 8 },
      'allow it with ingress: [{fromCIDR: ["198.51.100.7/32"], icmps: [{fields: [{family: IPv4, type: 8}]}]}]',
    ],
    [
      "a name",
      ["fqdn:api.stripe.com", "reserved:world"],
      egress,
      'allow it with egress: [{toFQDNs: [{matchName: "api.stripe.com"}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]',
    ],
    ["nobody knows whom", [], ingress, undefined],
  ];
  for (const [name, labels, question, fix] of cases) {
    it(name, () => assert.equal(suggestFix(demoNames({ identityLabels: () => labels }), question, []), fix));
  }

  it("a deny rule", () => {
    const deny = { ...RULE1, section: "egressDeny", index: 2 };
    assert.equal(suggestFix(demoNames(), egress, [deny]), "narrow or remove egressDeny[2] of default/rule1: a deny beats every allow");
  });
});
