import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FqdnSelector } from "#fqdn/pattern.ts";
import { keyOfAddress } from "./address.ts";
import { parseDnsPolicy } from "./parse-policy.ts";
import { compileDnsPolicy } from "./policy-table.ts";
import type { DnsPolicyMessage, DnsRule } from "./protocol.ts";

const [DNS, OTHER] = [100, 200];
const origins = [{ kind: "CiliumNetworkPolicy", namespace: "shop", name: "egress", section: "egress", index: 0 }];

function policyOf(...rules: DnsRule[]): DnsPolicyMessage {
  const endpoint = {
    id: 7,
    key: "one",
    identity: 300,
    ips: ["10.0.0.7", "fd00::7"],
    ports: [{ port: 53, protocol: 17, rules }],
    selectors: [],
  };
  const settings = { rejectWith: "refused", minTtl: 0, maxIpsPerName: 10, maxDeferred: 10, grace: 0, maxCalls: 0 } as const;
  return { type: "dns-policy", revision: 1, settings, endpoints: [endpoint] };
}

const rule = (identities: readonly number[] | null, ...patterns: string[]): DnsRule => ({
  ...{ identities, origins },
  names: patterns.map((one) => (one.includes("*") ? { matchPattern: one } : { matchName: one })),
});
const decide = (policy: DnsPolicyMessage, name: string, server = DNS, ...named: number[]) =>
  compileDnsPolicy(policy)
    .endpoint(keyOfAddress("10.0.0.7"))
    ?.port(53, 17)
    ?.decide([server, ...named], name);

describe("compileDnsPolicy", () => {
  it("allows by name and pattern as Cilium does, for the servers a rule names", () => {
    const policy = policyOf(rule([DNS], "api.stripe.com", "*.amazonaws.com", "**.deep.test"));
    for (const [name, allowed] of [
      ["api.stripe.com.", true],
      ["www.stripe.com.", false],
      ["s3.amazonaws.com.", true],
      ["s3.us-east-1.amazonaws.com.", false],
      ["amazonaws.com.", false],
      ["a.b.deep.test.", true],
      ["a\\046deep.test.", false],
    ] as const) {
      assert.equal(decide(policy, name)?.allowed, allowed, name);
    }
    assert.equal(decide(policy, "api.stripe.com.", OTHER)?.allowed, false);
    assert.equal(decide(policyOf({ identities: null, names: null, origins }), "any.thing.", OTHER)?.allowed, true);
  });

  it("knows a server by the names that the endpoint has learned for it, too", () => {
    const [world, resolver] = [2, 0x0100_0007];
    const policy = policyOf(rule([resolver], "api.stripe.com"));
    assert.equal(decide(policy, "api.stripe.com.", world)?.allowed, false);
    assert.equal(decide(policy, "api.stripe.com.", world, 0x0100_0008)?.allowed, false);
    assert.equal(decide(policy, "api.stripe.com.", world, 0x0100_0008, resolver)?.allowed, true);
    assert.equal(decide(policy, "api.paypal.com.", world, resolver)?.allowed, false);
  });

  it("says what audit mode alone lets pass, and opens only what audit mode alone mentions", () => {
    const policy = policyOf(rule([DNS], "a.test", "b.test"));
    const [endpoint] = policy.endpoints;
    assert.ok(endpoint);
    const at = (port: number, ...patterns: string[]) => ({ port, protocol: 17, rules: [rule([DNS], ...patterns)] });
    const parsed = parseDnsPolicy({ ...policy, endpoints: [{ ...endpoint, audit: [at(53, "a.test"), at(54, "a.test")] }] });
    assert.ok("policy" in parsed);
    const table = compileDnsPolicy(parsed.policy).endpoint(keyOfAddress("10.0.0.7"));
    const told = (port: number, name: string) => {
      const decision = table?.port(port, 17)?.decide([DNS], name);
      return decision?.allowed === true && decision.audited !== undefined ? "audited" : decision?.allowed;
    };
    assert.deepEqual(
      ["a.test.", "b.test.", "c.test."].map((name) => told(53, name)),
      [true, "audited", false],
    );
    assert.deepEqual(
      ["a.test.", "c.test."].map((name) => told(54, name)),
      [true, "audited"],
    );
    assert.equal(table?.port(55, 17), undefined);
  });

  it("takes every name for *, and what either field of a rule says", () => {
    const allows = (name: string, one: FqdnSelector) => decide(policyOf({ identities: null, origins, names: [one] }), name)?.allowed;
    assert.equal(allows("my\\032printer._http._tcp.local.", { matchPattern: "*" }), true);
    assert.equal(allows("my\\032printer.local.", { matchPattern: "*.local" }), false);
    const both = { matchName: "a.test", matchPattern: "*.b.test" };
    assert.deepEqual(
      [allows("a.test.", both), allows("x.b.test.", both), allows("b.test.", both), allows(".", {})],
      [true, true, false, false],
    );
  });

  it("names the rule and the pattern that came nearest", () => {
    const decision = decide(policyOf(rule([DNS], "api.paypal.com", "*.stripe.com"), rule([OTHER], "api.example.com")), "a.b.stripe.com.");
    assert.ok(decision && !decision.allowed);
    const [first, , last] = decision.denied.nearest;
    assert.deepEqual(first, { origins, mismatches: [{ field: "name", wanted: "*.stripe.com", found: "a.b.stripe.com." }] });
    assert.deepEqual(last?.mismatches, [{ field: "identity", wanted: "200", found: "100" }]);
  });

  it("knows an endpoint by each of its addresses, and only its own ports and protocols", () => {
    const table = compileDnsPolicy(policyOf(rule(null, "*")));
    assert.ok(table.endpoint(keyOfAddress("fd00::7"))?.port(53, 17));
    assert.equal(table.endpoint(keyOfAddress("10.0.0.7"))?.port(53, 6), undefined);
    assert.equal(table.endpoint(keyOfAddress("10.0.0.7"))?.port(5353, 17), undefined);
    assert.equal(table.endpoint(keyOfAddress("10.0.0.8")), undefined);
    assert.equal(compileDnsPolicy(undefined).endpoint(keyOfAddress("10.0.0.7")), undefined);
  });
});

describe("parseDnsPolicy", () => {
  it("takes a whole policy or none, and says where it is wrong", () => {
    const good = policyOf(rule([DNS], "*.stripe.com"));
    assert.deepEqual(parseDnsPolicy(JSON.parse(JSON.stringify(good))), { policy: good });
    const [endpoint] = good.endpoints;
    const bad = { ...good, endpoints: [{ ...endpoint, ips: ["10.0.0.300"], selectors: [{ matchPattern: "a b", identity: 0 }] }] };
    const parsed = parseDnsPolicy(bad);
    assert.ok("issues" in parsed);
    const paths = parsed.issues.map(({ path }) => path);
    assert.deepEqual(paths, ["endpoints[0].ips[0]", "endpoints[0].selectors[0].identity", "endpoints[0].selectors[0]"]);
  });
});
