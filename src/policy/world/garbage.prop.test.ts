import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { lintWorld } from "../lint/lint.ts";
import { matrixOf } from "../reach/matrix.ts";
import { findParty } from "./find.ts";
import { memorySource } from "./objects.ts";
import { createWorld } from "./world.ts";

const sound: readonly object[] = [
  {
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p", namespace: "shop" },
    spec: {
      endpointSelector: { matchLabels: { app: "api" } },
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { app: "web" } }],
          toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET", path: "/a/.*" }] } }],
        },
      ],
      egressDeny: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }],
      egress: [{ toFQDNs: [{ matchPattern: "*.example.com" }] }, { toEntities: ["cluster"], icmps: [{ fields: [{ type: 8 }] }] }],
    },
  },
  {
    kind: "NetworkPolicy",
    metadata: { name: "k", namespace: "shop" },
    spec: { podSelector: {}, ingress: [{ from: [{ namespaceSelector: {} }] }] },
  },
  {
    kind: "Pod",
    metadata: { name: "web", namespace: "shop", labels: { app: "web" } },
    spec: { containers: [{ ports: [{ name: "http", containerPort: 80 }] }] },
    status: { podIP: "10.0.0.1" },
  },
  {
    kind: "Deployment",
    metadata: { name: "api", namespace: "shop" },
    spec: { template: { metadata: { labels: { app: "api" } }, spec: {} } },
  },
  {
    kind: "Service",
    metadata: { name: "api", namespace: "shop" },
    spec: { selector: { app: "api" }, ports: [{ port: 80, targetPort: "http" }] },
  },
  { kind: "Node", metadata: { name: "n" }, spec: { podCIDR: "10.0.0.0/24" }, status: { addresses: [{ address: "192.168.0.1" }] } },
  { kind: "CiliumCIDRGroup", metadata: { name: "g", labels: { a: "b" } }, spec: { externalCIDRs: ["192.0.2.0/24"] } },
  { kind: "CiliumIdentity", metadata: { name: "300" }, "security-labels": { "k8s:app": "x" } },
];

/** The object with what stands at one of its places, counted in the order of a walk, replaced. */
function damaged(object: unknown, at: number, value: unknown): unknown {
  let seen = -1;
  const walk = (node: unknown): unknown => {
    seen++;
    if (seen === at) return value;
    if (Array.isArray(node)) return node.map(walk);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, walk(inner)]));
  };
  return walk(object);
}

const junk = fc.oneof(fc.jsonValue(), fc.constantFrom(null, [], {}, [null], [{}], -1, 70_000, "", "*", "::/0", "constructor", "__proto__"));
const objects = fc
  .array(fc.tuple(fc.nat(sound.length - 1), fc.nat(40), junk), { minLength: 1, maxLength: 5 })
  .map((damages) =>
    damages.reduce<readonly unknown[]>((all, [i, at, value]) => all.map((one, j) => (i === j ? damaged(one, at, value) : one)), sound),
  );

describe("a world of damaged objects", () => {
  it("is built, linted and tabulated without throwing", (test) => {
    let [runs, valid] = [0, 0];
    fc.assert(
      fc.property(objects, (all) => {
        const world = createWorld(all.map((object) => ({ object, source: memorySource("test") })));
        lintWorld(world, all);
        matrixOf(world);
        findParty(world, "shop/api");
        runs++;
        valid += world.policies.filter(({ parsed }) => parsed.issues.length === 0).length;
      }),
      { numRuns: 200 },
    );
    test.diagnostic(`${runs} worlds, ${valid} policies of them still valid, none crashed`);
    assert.ok(valid > 0);
  });
});
