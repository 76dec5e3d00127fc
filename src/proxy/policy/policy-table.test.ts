import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PolicyMessage, PortPolicy } from "../protocol.ts";
import { decide } from "./decide.ts";
import { parsePolicyMessage } from "./parse-policy.ts";
import { createPolicyTable, rulesOfConnection } from "./policy-table.ts";

const port = (first: number, last: number | undefined, path: string): PortPolicy => ({
  ...{ port: first, protocol: "TCP" },
  ...(last === undefined ? {} : { endPort: last }),
  rules: [{ identities: null, http: [{ path }], origins: [] }],
});
const policy = (revision: number, ingress: readonly PortPolicy[], egress: readonly PortPolicy[] = []): PolicyMessage => ({
  ...{ type: "policy", revision },
  endpoints: [{ id: 1, identity: 100, ips: ["10.0.0.1", "fd00::1"], ingress, egress }],
});
const parsed = (message: PolicyMessage) => {
  const result = parsePolicyMessage(JSON.parse(JSON.stringify(message)));
  assert.ok("policy" in result, JSON.stringify(result));
  return result.policy;
};

describe("policy table", () => {
  it("finds the server's rules on ingress and the client's on egress, by port", () => {
    const table = createPolicyTable();
    table.replace(parsed(policy(1, [port(80, undefined, "/in")], [port(443, undefined, "/out")])));
    assert.ok(rulesOfConnection(table, "ingress", "10.9.9.9", "10.0.0.1", 80));
    assert.ok(rulesOfConnection(table, "ingress", "fd00::9", "fd00::1", 80));
    assert.ok(rulesOfConnection(table, "egress", "10.0.0.1", "10.9.9.9", 443));
    assert.equal(rulesOfConnection(table, "egress", "10.0.0.1", "10.9.9.9", 80), undefined);
    assert.equal(rulesOfConnection(table, "ingress", "10.0.0.1", "10.9.9.9", 80), undefined);
  });

  it("adds up a range and a port in it (CVE-2024-52529)", () => {
    const table = createPolicyTable();
    table.replace(parsed(policy(1, [port(1, 1000, "/range"), port(80, undefined, "/port")])));
    assert.equal(table.endpoint("10.0.0.1")?.ingress(80)?.peer([5]).mine.length, 2);
    assert.equal(table.endpoint("10.0.0.1")?.ingress(81)?.peer([5]).mine.length, 1);
    assert.equal(table.endpoint("10.0.0.1")?.ingress(1001), undefined);
  });

  it("has the rules of audit mode beside those in force, and opens what only audit mode mentions, and nothing else", () => {
    const table = createPolicyTable();
    const [endpoint] = policy(1, [port(80, undefined, "/in")]).endpoints;
    assert.ok(endpoint);
    const audit = { ingress: [port(80, undefined, "/audited"), port(90, undefined, "/audited")], egress: [] };
    table.replace(parsed({ type: "policy", revision: 1, endpoints: [{ ...endpoint, audit }] }));
    const allows = (number: number, path: string, audited = false) => {
      const peer = table.endpoint("10.0.0.1")?.ingress(number)?.peer([5]);
      const rules = audited ? peer?.audited : peer;
      const view = { method: "GET", path, host: "", header: () => undefined, hasLookalike: () => false };
      return rules && decide(rules.http, view).allowed;
    };
    assert.deepEqual([allows(80, "/in"), allows(80, "/x"), allows(80, "/in", true)], [true, false, false]);
    assert.deepEqual([allows(90, "/x"), allows(90, "/x", true), allows(90, "/audited", true)], [true, false, true]);
    assert.deepEqual(table.endpoint("10.0.0.1")?.ingress(90)?.peer([5]).protocols, new Set(["http"]));
    assert.equal(table.endpoint("10.0.0.1")?.ingress(91), undefined);
  });

  it("takes port 0 for every port", () => {
    const table = createPolicyTable();
    table.replace(parsed(policy(1, [port(0, undefined, "/any")])));
    assert.ok(table.endpoint("10.0.0.1")?.ingress(65535));
  });

  it("keeps compiled rules over revisions that do not change them, and drops what is gone", () => {
    const table = createPolicyTable();
    const ports = [port(80, undefined, "/in")];
    table.replace(parsed(policy(1, ports)));
    const before = table.endpoint("10.0.0.1")?.ingress(80)?.peer([5]);
    table.replace(parsed(policy(2, ports)));
    assert.equal(table.endpoint("10.0.0.1")?.ingress(80)?.peer([5]), before);
    table.replace({ type: "policy", revision: 3, endpoints: [] });
    assert.equal(table.endpoint("10.0.0.1"), undefined);
    assert.deepEqual([table.revision, table.endpoints, table.redirects], [3, 0, 0]);
  });
});

describe("parse policy message", () => {
  const good = policy(1, [port(80, undefined, "/x")]);
  const BAD: readonly (readonly [string, unknown, string])[] = [
    ["nothing", null, "policy"],
    ["no endpoints", { type: "policy", revision: 1 }, "endpoints"],
    ["a bad revision", { ...good, revision: -1 }, "revision"],
    ["a bad address", { ...good, endpoints: [{ ...good.endpoints[0], ips: ["10.0.0.256"] }] }, "endpoints[0].ips[0]"],
    ["a bad port", policy(1, [port(70_000, undefined, "/x")]), "endpoints[0].ingress[0].port"],
    ["a range that ends before it starts", policy(1, [port(80, 79, "/x")]), "endpoints[0].ingress[0].endPort"],
    [
      "an unknown parser",
      policy(1, [{ ...port(80, undefined, "/x"), rules: [{ identities: null, http: null, parser: "smtp" as "http", origins: [] }] }]),
      "endpoints[0].ingress[0].rules[0].parser",
    ],
  ];
  for (const [name, message, path] of BAD) {
    it(`refuses ${name} and says where`, () => {
      const result = parsePolicyMessage(message);
      assert.equal("issues" in result && result.issues[0]?.path, path);
    });
  }

  const withMatch = (match: object) => {
    const at80 = { ...port(80, undefined, "/x"), rules: [{ identities: null, http: [{ headerMatches: [match] }] }] };
    return { ...good, endpoints: [{ ...good.endpoints[0], ingress: [at80] }] };
  };
  it("refuses an unknown header action", () => {
    assert.ok("issues" in parsePolicyMessage(withMatch({ name: "X-A", value: "1", mismatch: "PRAY" })));
  });
  it("takes what only matches nothing: one endpoint's odd rule must not hold up the policy of all", () => {
    const odd = [
      policy(1, [port(80, undefined, "/(x")]),
      ...[
        { name: "Content-Length", value: "1", mismatch: "ADD" },
        { name: "X-A", value: "a\n", mismatch: "REPLACE" },
        { name: "X A", mismatch: "DELETE" },
      ].map(withMatch),
    ];
    for (const message of odd) assert.ok("policy" in parsePolicyMessage(message));
  });
});
