import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cidrLabels, fqdnLabels } from "#identity/cidr.ts";
import { reservedIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { memorySource } from "./objects.ts";
import { patchFor } from "./patch.ts";
import { createWorld } from "./world.ts";

const deployment = (name: string, labels: object) => ({
  kind: "Deployment",
  metadata: { name, namespace: "shop" },
  spec: { template: { metadata: { labels }, spec: {} } },
});

function patch(spec: object, direction: "ingress" | "egress", peer: "web" | "name" | "pattern" | "block" | "world"): string {
  const policy = {
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p", namespace: "shop" },
    spec: { endpointSelector: { matchLabels: { app: "api" } }, ...spec },
  };
  const objects = [
    deployment("api", { app: "api" }),
    deployment("web", { app: "web", tier: "front" }),
    deployment("web2", { app: "web" }),
    policy,
  ];
  const world = createWorld(objects.map((object) => ({ object, source: memorySource("test") })));
  const [api, web] = world.endpoints;
  assert.ok(api && web);
  const identities = {
    web: web.identity,
    world: reservedIdentity.world,
    block: world.identityFor(cidrLabels(Prefix("10.1.0.0/16"), world.settings)),
    name: world.identityFor(fqdnLabels([{ matchName: "a.example.com" }], 4, world.settings)),
    pattern: world.identityFor(fqdnLabels([{ matchPattern: "*.example.com" }], 4, world.settings)),
  };
  const subject = { identity: api.identity, labels: api.identityLabels, namedPorts: [] };
  return JSON.stringify(patchFor(world.repo, world.cache, subject, { direction, identity: identities[peer], protocol: 6, port: 80 }));
}

describe("patchFor", () => {
  it("allows what was denied by default, and no more than it can tell apart", () => {
    assert.match(
      patch({ ingress: [{}] }, "ingress", "web"),
      /"ingress":\[\{"fromEndpoints":\[\{"matchLabels":\{"tier":"front"\}\}\],"toPorts":\[\{"ports":\[\{"port":"80","protocol":"TCP"\}\]\}\]\}\]/,
    );
    assert.match(patch({ egress: [{}] }, "egress", "block"), /"toCIDR":\["10\.1\.0\.0\/16"\]/);
    assert.match(patch({ egress: [{}] }, "egress", "name"), /"matchName":"a\.example\.com"/);
    assert.match(patch({ egress: [{}] }, "egress", "world"), /"toEntities":\["world"\]/);
  });

  it("gives nothing that would not help", () => {
    assert.equal(patch({ ingress: [{}], ingressDeny: [{ fromEndpoints: [{}] }] }, "ingress", "web"), undefined);
    assert.equal(patch({ egress: [{}] }, "egress", "pattern"), undefined);
  });
});
