import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "#types/addr.ts";
import { protocolNumber } from "#types/proto.ts";
import { casesOf, type Lookup } from "./cases.ts";
import { judge } from "./connection.ts";
import { findParty } from "./find.ts";
import { memorySource } from "./objects.ts";
import type { Party } from "./party.ts";
import { remedyFor } from "./remedy.ts";
import { createWorld, type World } from "./world.ts";

const pod = (name: string) => ({ kind: "Pod", metadata: { name, namespace: "shop", labels: { app: name } }, spec: {} });
const policy = (spec: object) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "p", namespace: "shop" },
  spec: { endpointSelector: { matchLabels: { app: "web" } }, ...spec },
});
const worldOf = (spec: object, ...more: object[]) =>
  createWorld([pod("web"), pod("other"), policy(spec), ...more].map((object) => ({ object, source: memorySource("test") })));

const partiesOf = (world: World, text: string): readonly Party[] => {
  const found = findParty(world, text);
  return "parties" in found ? found.parties : assert.fail(found.problem);
};
const connectionTo = (world: World, to: Party) => ({
  from: partiesOf(world, "shop/web")[0] as Party,
  to,
  protocol: protocolNumber.TCP,
  port: 443,
});
/** What each case is, and whether it is allowed. */
function answers(world: World, to: string, lookups?: readonly Lookup[]): string[] {
  const allowed = (party: Party) => judge(world, connectionTo(world, party)).allowed;
  const [asked] = partiesOf(world, to);
  assert.ok(asked);
  const cases = casesOf(world, connectionTo(world, asked).from, asked, lookups, (party) => String(allowed(party)));
  return [...cases.parties.map((one) => `${one.title}: ${allowed(one) ? "allowed" : "denied"}`), ...cases.notes];
}
const lookup = (name: string, address: string, of = "shop/web"): Lookup => ({ pod: of, name, addresses: [IpAddress(address)] });

const byName = { toFQDNs: [{ matchPattern: "*.example.com" }] };
const bothFamilies = { kind: "ConfigMap", metadata: { name: "cilium-config" }, data: { "enable-ipv6": "true" } };

describe("casesOf", () => {
  it("tells the addresses of a name apart that rules for blocks decide about, while nobody knows which it has", () => {
    const open = "it depends on the address of a.example.com: once that is known, ask with --to ADDRESS";
    const looked = "taken as looked up by the pod itself";
    assert.deepEqual(answers(worldOf({ egress: [byName], egressDeny: [{ toCIDR: ["10.0.0.0/8"] }] }), "a.example.com"), [
      "a.example.com: allowed",
      "a.example.com at an address in 10.0.0.0/8: denied",
      looked,
      open,
    ]);
    const bySet = worldOf({ egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }] });
    assert.deepEqual(answers(bySet, "a.example.com"), [
      "a.example.com: denied",
      "a.example.com at an address in 10.0.0.0/8: allowed",
      "no toFQDNs rule takes the name a.example.com: its addresses are ordinary ones outside",
      open,
    ]);
    assert.deepEqual(answers(worldOf({ egress: [byName, { toCIDR: ["10.0.0.0/8"] }] }), "a.example.com"), [
      "a.example.com: allowed",
      looked,
    ]);
  });

  it("takes the addresses that the pod has resolved, with all that is known of them", () => {
    const world = worldOf({ egress: [byName], egressDeny: [{ toCIDR: ["10.0.0.0/8"] }] });
    const lookups = [lookup("a.example.com", "10.0.0.1"), lookup("a.example.com", "192.0.2.1"), lookup("a.example.com", "192.0.2.2")];
    assert.deepEqual(answers(world, "A.example.com.", lookups), [
      "A.example.com. (10.0.0.1): denied",
      "A.example.com. (192.0.2.1, 192.0.2.2): allowed",
      "shop/web has resolved A.example.com. to 10.0.0.1, 192.0.2.1, 192.0.2.2",
    ]);
    const foreign = answers(world, "a.example.com", [lookup("a.example.com", "192.0.2.1", "shop/other")]);
    assert.match(
      foreign.join("\n"),
      /^a.example.com \(192.0.2.1\): allowed\nshop\/other has .*, and shop\/web would have to look it up first$/,
    );
  });

  it("knows an address by the names that the pod has looked up", () => {
    const world = worldOf({ egress: [byName] });
    assert.deepEqual(answers(world, "192.0.2.1"), [
      "192.0.2.1: denied",
      "192.0.2.1 as a looked up address of *.example.com: allowed",
      "it depends on whether shop/web has looked up a name that has the address 192.0.2.1",
    ]);
    assert.deepEqual(answers(world, "192.0.2.1", [lookup("a.example.com", "192.0.2.1")]), [
      "192.0.2.1: allowed",
      "shop/web has looked up a.example.com, which has the address 192.0.2.1",
    ]);
    assert.match(
      answers(world, "192.0.2.1", [lookup("a.example.com", "192.0.2.1", "shop/other")]).join(),
      /^192.0.2.1: denied,.*opens its/,
    );
    assert.deepEqual(answers(world, "192.0.2.1", []), ["192.0.2.1: denied"]);
  });

  it("tells apart what is within a block, and the families of the world where there are two", () => {
    const world = worldOf({ egress: [{ toCIDR: ["0.0.0.0/0"] }], egressDeny: [{ toCIDR: ["10.1.0.0/16"] }] }, bothFamilies);
    assert.deepEqual(answers(world, "10.0.0.0/8"), ["10.0.0.0/8: allowed", "10.1.0.0/16 in 10.0.0.0/8: denied"]);
    assert.deepEqual(answers(world, "world"), ["world: allowed", "world: its IPv6 addresses: denied"]);
    assert.deepEqual(answers(worldOf({ egress: [{ toCIDR: ["0.0.0.0/0"] }] }), "world"), ["world: allowed"]);
  });

  it("has patches for each: by the name to allow it, by its addresses to deny it", () => {
    const turned = (world: World, to: string, lookups?: readonly Lookup[]) => {
      const [asked] = partiesOf(world, to);
      assert.ok(asked);
      const text = (party: Party) => String(judge(world, connectionTo(world, party)).allowed);
      const { parties } = casesOf(world, connectionTo(world, asked).from, asked, lookups, text);
      return JSON.stringify(parties.map((one) => remedyFor(world, connectionTo(world, one))?.objects ?? []));
    };
    const closed = worldOf({ egress: [{}] });
    const lookups = [lookup("a.example.com", "192.0.2.1"), lookup("a.example.com", "192.0.2.2")];
    assert.match(turned(closed, "a.example.com", lookups), /"toFQDNs":\[{"matchName":"a.example.com"}\]/);
    const open = worldOf({ egress: [byName] });
    assert.match(turned(open, "a.example.com", lookups), /"egressDeny":\[{"toCIDR":\["192.0.2.1\/32","192.0.2.2\/32"\]/);
    // Of what is in the block, nobody knows which address is meant.
    assert.doesNotMatch(
      turned(worldOf({ egress: [byName], egressDeny: [{ toCIDR: ["10.0.0.0/8"] }] }), "a.example.com"),
      /except|egressDeny/,
    );
  });
});
