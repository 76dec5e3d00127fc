import assert from "node:assert/strict";
import { it } from "node:test";
import { memorySource } from "../world/objects.ts";
import { createWorld } from "../world/world.ts";
import { lintWorld } from "./lint.ts";

const source = memorySource("scale");

const pod = (i: number) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: `pod-${i}`, namespace: "shop", labels: { app: `app-${i}` } },
  spec: { containers: [{ name: "main", ports: [{ name: "http", containerPort: 8080 }] }] },
});

/** A policy for every pod, with a peer and a port of its own. */
const policy = (i: number) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: `policy-${i}`, namespace: "shop" },
  spec: {
    endpointSelector: {},
    ingress: [{ fromEndpoints: [{ matchLabels: { app: `app-${i}` } }], toPorts: [{ ports: [{ port: `${1000 + i}`, protocol: "TCP" }] }] }],
  },
});

/** What looking at a world of so many pods and policies asks for: resolved policies, and walks over all identities. */
function workFor(pods: number, policies: number): { readonly resolved: number; readonly walks: number } {
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
  const world = createWorld([...numbers(pods).map(pod), ...numbers(policies).map(policy)].map((object) => ({ object, source })));
  let resolved = 0;
  let walks = 0;
  const identities = () => {
    walks++;
    return world.cache.identities();
  };
  const policyOf: typeof world.policyOf = (subject) => {
    resolved++;
    return world.policyOf(subject);
  };
  assert.equal(
    lintWorld({ ...world, policyOf, cache: { ...world.cache, identities } }).length,
    policies,
    "each has a port that no pod declares",
  );
  return { resolved, walks };
}

it("resolves one policy for all pods that the same rules select, and walks over no identities for each rule", () => {
  const few = workFor(5, 5);
  assert.deepEqual(workFor(40, 40), few);
  assert.equal(few.resolved, 1);
});
