import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cidrLabels, fqdnLabels } from "#identity/cidr.ts";
import { reservedIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { resolveEndpoint } from "../resolve/resolve.ts";
import { memorySource } from "./objects.ts";
import { isAllowedByName, patchFor } from "./patch.ts";
import { createWorld } from "./world.ts";

const deployment = (name: string, labels: object) => ({
  kind: "Deployment",
  metadata: { name, namespace: "shop" },
  spec: { template: { metadata: { labels }, spec: {} } },
});

function patch(spec: object, direction: "ingress" | "egress", peer: "web" | "name" | "pattern" | "block" | "world", name?: string): string {
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
  const flow = { direction, identity: identities[peer], protocol: 6, port: 80 };
  const resolved = resolveEndpoint(world.repo, world.cache, subject);
  if (name !== undefined && isAllowedByName(resolved, world.cache, flow, name)) return "allowed by its name";
  return JSON.stringify(patchFor(world.repo, world.cache, subject, flow, name));
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

  it("allows an address outside by the name that the endpoint knows it by", () => {
    assert.match(patch({ egress: [{}] }, "egress", "world", "b.example.com"), /"toFQDNs":\[\{"matchName":"b\.example\.com"\}\]/);
    assert.match(patch({ egress: [{}] }, "egress", "block", "b.example.com"), /"matchName":"b\.example\.com"/);
    assert.match(patch({ egress: [{}] }, "egress", "web", "b.example.com"), /"toEndpoints"/);
  });

  it("knows when a rule allows the name, whose time is over", () => {
    const on = (port: string) => ({ egress: [{ toFQDNs: [{ matchPattern: "*.example.com" }], toPorts: [{ ports: [{ port }] }] }] });
    assert.equal(patch(on("80"), "egress", "world", "b.example.com"), "allowed by its name");
    assert.match(patch(on("443"), "egress", "world", "b.example.com"), /"matchName":"b\.example\.com"/);
    assert.match(patch(on("80"), "egress", "world", "b.c.example.com"), /"matchName":"b\.c\.example\.com"/);
  });

  it("gives nothing that would not help", () => {
    assert.equal(patch({ ingress: [{}], ingressDeny: [{ fromEndpoints: [{}] }] }, "ingress", "web"), undefined);
    assert.equal(patch({ egress: [{}] }, "egress", "pattern"), undefined);
  });
});
