import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePolicy } from "../parse/parse.ts";
import { judge } from "../world/connection.ts";
import { findParty } from "../world/find.ts";
import { memorySource } from "../world/objects.ts";
import { createWorld, type World } from "../world/world.ts";
import { lintMakesMoot, lintMoot } from "./moot.ts";
import { PlainIndex } from "./plain-index.ts";
import { reviewPolicy } from "./review.ts";

const pod = (app: string, ip: string) => ({
  kind: "Pod",
  metadata: { name: app, namespace: "demo", labels: { app } },
  spec: { nodeName: "n" },
  status: { podIP: ip },
});
const pods = [pod("web", "10.0.0.1"), pod("api", "10.0.0.2")];
const policy = (name: string, rule: object, more: object = {}) => ({
  kind: "CiliumNetworkPolicy",
  metadata: { name, namespace: "demo", ...more },
  spec: { endpointSelector: { matchLabels: { app: "api" } }, ingress: [rule] },
});
const web = { fromEndpoints: [{ matchLabels: { app: "web" } }] };
const on = (port: string, more: object = {}) => ({ toPorts: [{ ports: [{ port, protocol: "TCP" }], ...more }] });
const http = on("80", { rules: { http: [{ method: "GET", path: "/x" }] } });
const narrow = policy("narrow", { ...web, ...http });

function party(world: World, name: string) {
  const found = findParty(world, name);
  assert.ok("parties" in found && found.parties[0] !== undefined);
  return found.parties[0];
}

/** Whether the engine lets a request through that the HTTP rule does not name. */
function letsThrough(...policies: object[]): boolean {
  const world = createWorld([...pods, ...policies].map((object) => ({ object, source: memorySource("m") })));
  const ends = { from: party(world, "demo/web"), to: party(world, "demo/api") };
  return judge(world, { ...ends, protocol: 6, port: 80, http: { method: "POST", path: "/y", host: "api", headers: [] } }).allowed;
}

const messages = (...policies: object[]) => [...lintMoot(policies.map((one) => parsePolicy(one)))].map(({ message }) => message);

describe("application rules beside plain allows", () => {
  const plain: Readonly<Record<string, { readonly rule: object; readonly moot: boolean }>> = {
    "the same": { rule: { ...web, ...on("80") }, moot: true },
    "any pod of the namespace": { rule: { fromEndpoints: [{}], ...on("80") }, moot: true },
    everybody: { rule: { fromEntities: ["all"], ...on("80") }, moot: true },
    cluster: { rule: { fromEntities: ["cluster"] }, moot: true },
    "no peers": { rule: on("80"), moot: true },
    "every port": { rule: web, moot: true },
    "port 0": { rule: { ...web, ...on("0") }, moot: true },
    "a range": { rule: { ...web, toPorts: [{ ports: [{ port: "1", endPort: 90, protocol: "TCP" }] }] }, moot: true },
    "one of several values": {
      rule: { fromEndpoints: [{ matchExpressions: [{ key: "app", operator: "In", values: ["web", "x"] }] }], ...on("80") },
      moot: true,
    },
    "another HTTP rule": { rule: { ...web, ...on("80", { rules: { http: [{ method: "GET" }] } }) }, moot: false },
    "another port": { rule: { ...web, ...on("81") }, moot: false },
    "another pod": { rule: { fromEndpoints: [{ matchLabels: { app: "x" } }], ...on("80") }, moot: false },
    "a narrower pod": { rule: { fromEndpoints: [{ matchLabels: { app: "web", tier: "x" } }], ...on("80") }, moot: false },
    "another protocol": { rule: { ...web, toPorts: [{ ports: [{ port: "80", protocol: "UDP" }] }] }, moot: false },
    nobody: { rule: {}, moot: false },
  };
  for (const [name, { rule, moot }] of Object.entries(plain))
    it(`${name}: ${moot ? "moot, as the engine decides" : "not moot"}`, () => {
      const wide = policy("wide", rule);
      assert.equal(letsThrough(narrow, wide), moot);
      assert.deepEqual(
        messages(narrow, wide),
        moot ? ["its application rules are moot: demo/wide (ingress) rule 0 allows the same without any"] : [],
      );
    });

  it("are named with the peers and ports that they are moot for", () => {
    const both = { fromEndpoints: [...web.fromEndpoints, { matchLabels: { app: "other" } }] };
    const ports = [
      { port: "80", protocol: "TCP" },
      { port: "81", protocol: "TCP" },
    ];
    const several = policy("narrow", { ...both, toPorts: [{ ports, rules: { http: [{ method: "GET" }] } }] });
    assert.match(messages(several, policy("wide", { ...web, ...on("80") })).join(), /are moot for app=web on 80\/TCP: demo\/wide/);
  });
  it("are moot by a plain entry of the same rule, by a ClusterNetworkPolicy's Accept, and for names of DNS", () => {
    assert.match(messages(policy("p", { ...web, toPorts: [...http.toPorts, ...on("80").toPorts] })).join(), /moot: demo\/p/);
    const accept = {
      kind: "ClusterNetworkPolicy",
      metadata: { name: "accept" },
      spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, ingress: [{ action: "Accept", from: [{ namespaces: {} }] }] },
    };
    assert.ok(letsThrough(narrow, accept));
    assert.match(messages(narrow, accept).join(), /moot: ClusterNetworkPolicy accept/);
    const names = (matchPattern: string) => ({
      ...policy("names", {}),
      spec: {
        endpointSelector: {},
        egress: [
          { toEntities: ["cluster"], toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchPattern }] } }] },
          { toEntities: ["cluster"] },
        ],
      },
    });
    assert.equal(messages(names("*.example.com")).length, 1);
    assert.deepEqual(messages(names("*")), [], "such a rule is there to learn addresses");
  });
  it("count where restrict is asked for, and beside a policy that is only audited", () => {
    const restrict = policy("narrow", { ...web, ...http }, { annotations: { "policy.cilium.io/l7-merge": "restrict" } });
    const wide = policy("wide", web);
    assert.deepEqual(messages(restrict, wide), []);
    const audited = parsePolicy(policy("wide", web, { annotations: { "policy.cilium.io/audit-mode": "enabled" } }));
    assert.deepEqual([...lintMoot([parsePolicy(narrow)], [audited])], []);
  });
  it("are spoken of whichever of the two policies comes last", () => {
    const [inner, outer] = [parsePolicy(narrow), parsePolicy(policy("wide", web))];
    assert.match(
      [...lintMakesMoot(outer, [inner])].map(({ message }) => message).join(),
      /^makes the application rules of demo\/narrow \(ingress\) rule 0 moot: it allows the same without any$/,
    );
    const surroundings = (others: readonly (typeof inner)[]) => ({ others, settings: createWorld([]).settings });
    assert.match(reviewPolicy(narrow, surroundings([inner, outer])).warnings.join(), /^spec\.ingress\[0\]: its .* moot: demo\/wide/);
    assert.match(
      reviewPolicy(policy("wide", web), surroundings([inner, outer])).warnings.join(),
      /^spec\.ingress\[0\]: makes the .* demo\/narrow/,
    );
    assert.deepEqual(reviewPolicy(narrow, surroundings([inner])).warnings, [], "it does not meet the older state of itself");
  });
  it("are compared with few of many allows: those for the same pods or all, from the same peers or wider ones, on the same port", () => {
    const each = (i: number) => parsePolicy({ ...policy(`p${i}`, { fromEndpoints: [{ matchLabels: { app: `web-${i}` } }], ...on("80") }) });
    const plain = Array.from({ length: 500 }, (_, i) => each(i)).flatMap(({ rules }) => rules.map((rule) => ({ rule, ports: null })));
    const wide = parsePolicy(policy("wide", { fromEndpoints: [{}] })).rules.map((rule) => ({ rule, ports: null }));
    const [rule] = parsePolicy(policy("narrow", { fromEndpoints: [{ matchLabels: { app: "web-7" } }], ...http })).rules;
    const [entry] = rule?.ports ?? [];
    assert.ok(rule !== undefined && entry !== undefined);
    const around = new PlainIndex([...plain, ...wide]).around({ rule, entry });
    assert.deepEqual(
      around.map(({ rule: { policy: ref } }) => ref.name),
      ["p7", "wide"],
    );
  });
});
