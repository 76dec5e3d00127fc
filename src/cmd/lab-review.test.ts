import assert from "node:assert/strict";
import { test } from "node:test";
import { createReview } from "./lab-review.ts";

const policy = (app: string, kind = "CiliumNetworkPolicy") => ({
  apiVersion: "cilium.io/v2",
  kind,
  metadata: { name: "p", ...(kind === "CiliumNetworkPolicy" ? { namespace: "shop" } : {}) },
  spec: { endpointSelector: { matchLabels: { app } }, ingress: [{}] },
});
const pod = { metadata: { name: "web-1", namespace: "shop", labels: { app: "backend" } }, spec: {} };

function warnings(object: object, pods: readonly object[]): string {
  const stored: Readonly<Record<string, readonly object[]>> = { pods, namespaces: [{ metadata: { name: "shop" } }] };
  return createReview()(object, (resource) => stored[resource] ?? []).warnings.join("\n");
}

test("who stores a policy that selects none of the pods hears of it, and what was probably meant", () => {
  assert.match(warnings(policy("bakcend"), [pod]), /^spec: selects no pod: no pod has app=bakcend; did you mean "backend"\?$/);
  assert.match(warnings(policy("cart"), [pod]), /^spec: selects no pod that exists now: none in shop has app=cart$/);
  assert.match(warnings(policy("bakcend", "CiliumClusterwideNetworkPolicy"), [pod]), /selects no pod: .*"backend"/);
});

test("nothing is said of a policy that selects some pod, or comes before the first", () => {
  assert.equal(warnings(policy("backend"), [pod]), "");
  assert.equal(warnings(policy("bakcend"), []), "");
});
