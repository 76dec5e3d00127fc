import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePolicy } from "../parse/parse.ts";
import { verdict } from "../resolve/verdict.ts";
import { memorySource } from "../world/objects.ts";
import { createWorld } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { lintWorld } from "./lint.ts";
import { RuleIndex } from "./rule-index.ts";

type Peers = { readonly namespaces: { readonly matchLabels?: object } };
type Entry = { readonly action: "Accept" | "Deny" | "Pass"; readonly from: readonly Peers[]; readonly protocols?: readonly object[] };
type Policy = {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: { readonly [field: string]: unknown };
};

const everybody: Peers = { namespaces: {} };
const team = (name: string): Peers => ({ namespaces: { matchLabels: { team: name } } });
const port = (number: number) => ({ tcp: { destinationPort: { number } } });
const accept = (from: Peers, ...protocols: object[]): Entry => ({
  action: "Accept",
  from: [from],
  ...(protocols.length > 0 ? { protocols } : {}),
});
const deny = (from: Peers, ...protocols: object[]): Entry => ({ ...accept(from, ...protocols), action: "Deny" });
const pass = (from: Peers, ...protocols: object[]): Entry => ({ ...accept(from, ...protocols), action: "Pass" });

const clusterPolicy = (name: string, tier: string, priority: number, ingress: readonly Entry[]): Policy => ({
  apiVersion: "policy.networking.k8s.io/v1alpha2",
  kind: "ClusterNetworkPolicy",
  metadata: { name },
  spec: { tier, priority, subject: { namespaces: { matchLabels: { team: "x" } } }, ingress },
});
const own = (spec: object): Policy => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "own", namespace: "a" },
  spec: { endpointSelector: {}, ...spec },
});

const cluster: readonly object[] = Object.entries({ a: "x", b: "why", c: "zed" }).flatMap(([name, label]) => [
  { kind: "Namespace", metadata: { name, labels: { team: label } } },
  { kind: "Pod", metadata: { name: "web", namespace: name, labels: { app: "web" } }, spec: {} },
]);
const worldOf = (policies: readonly object[]) =>
  createWorld([...cluster, ...policies].map((object) => ({ object, source: memorySource("test") })));
const overlapsIn = (policies: readonly Policy[]) =>
  lintWorld(worldOf(policies)).filter(({ id, rule }) => (id === "L09" || id === "L10") && rule !== undefined);
const places = (findings: readonly Finding[]) =>
  findings.map(({ id, policy, rule }) => `${id} ${policy.name} ${rule?.section} ${rule?.index}`);

/** What every pod of the cluster may send to every other one. */
function decisions(policies: readonly Policy[]): string {
  const world = worldOf(policies);
  const of = (to: (typeof world.endpoints)[number], identity: typeof to.identity) => {
    const policy = world.policyOf({ identity: to.identity, labels: to.identityLabels, namedPorts: to.namedPorts });
    return [80, 443].map((one) => verdict(policy, { direction: "ingress", identity, protocol: 6, port: one }).verdict);
  };
  return JSON.stringify(world.endpoints.map((to) => world.endpoints.map((from) => of(to, from.identity))));
}

function without(policies: readonly Policy[], { policy, rule }: Finding): Policy[] {
  return policies.map((one) => {
    if (one.metadata.name !== policy.name || rule === undefined) return one;
    const list = one.spec[rule.section] as readonly unknown[];
    // What is left in the place of an allow keeps the default deny.
    const stand = rule.section === "ingress" && rule.kind === "CiliumNetworkPolicy" ? [{}] : [];
    return { ...one, spec: { ...one.spec, [rule.section]: [...list.filter((_, i) => i !== rule.index), ...stand] } };
  });
}

describe("lintOverlaps", () => {
  it("finds no fault with an accept before a wider deny, by order or by priority", () => {
    assert.deepEqual(places(overlapsIn([clusterPolicy("o", "Admin", 5, [accept(team("why"), port(80)), deny(everybody)])])), []);
    const two = [clusterPolicy("strong", "Admin", 1, [accept(team("why"))]), clusterPolicy("weak", "Admin", 9, [deny(everybody)])];
    assert.deepEqual(places(overlapsIn(two)), []);
  });

  it("finds what comes after a rule that decides all of it", () => {
    const [dead, ...more] = overlapsIn([clusterPolicy("o", "Admin", 1, [accept(everybody), deny(team("why")), accept(team("x"))])]);
    assert.deepEqual(places([...(dead ? [dead] : []), ...more]), ["L09 o ingress 1", "L10 o ingress 2"]);
    assert.match(dead?.message ?? "", /never has an effect: ClusterNetworkPolicy o \(ingress\) rule 0 allows all of it first/);
    const two = [clusterPolicy("weak", "Admin", 9, [accept(team("why"))]), clusterPolicy("strong", "Admin", 1, [deny(everybody)])];
    assert.deepEqual(places(overlapsIn(two)), ["L09 weak ingress 0"]);
    const tiers = [clusterPolicy("o", "Admin", 1, [deny(everybody)]), own({ ingress: [{ fromEndpoints: [{}] }] })];
    assert.deepEqual(places(overlapsIn(tiers)), ["L09 own ingress 0"]);
  });

  it("leaves alone what somebody who was passed on still meets", () => {
    const policies = [clusterPolicy("o", "Admin", 1, [pass(team("x")), deny(everybody)]), own({ ingress: [{ fromEndpoints: [{}] }] })];
    assert.deepEqual(places(overlapsIn(policies)), []);
  });

  it("calls only dead what changes no verdict when it is taken out", () => {
    const peers = [everybody, team("x"), team("why"), team("zed")];
    const ports = [[], [port(80)], [port(443)], [port(80), port(443)]];
    let seed = 7;
    const pick = <Value>(list: readonly Value[]): Value => {
      seed = (seed * 1103515245 + 12345) % 0x80000000;
      return list[(seed >> 8) % list.length] as Value;
    };
    const entries = () => Array.from({ length: pick([1, 2, 3]) }, () => pick([accept, deny, pass])(pick(peers), ...pick(ports)));
    const found = new Map<string, number>();
    for (let round = 0; round < 150; round++) {
      const policies = [
        clusterPolicy("one", pick(["Admin", "Baseline"]), pick([1, 5]), entries()),
        clusterPolicy("two", pick(["Admin", "Baseline"]), pick([2, 7]), entries()),
        ...pick([[], [own({ ingress: [{ fromEndpoints: [{}] }], ingressDeny: [{ fromEntities: [pick(["world", "all"])] }] })]]),
      ];
      for (const finding of overlapsIn(policies)) {
        found.set(finding.id, (found.get(finding.id) ?? 0) + 1);
        const text = JSON.stringify(policies.map(({ spec }) => spec));
        assert.equal(decisions(without(policies, finding)), decisions(policies), `${places([finding])}: ${finding.message} in ${text}`);
      }
    }
    for (const id of ["L09", "L10"]) assert.ok((found.get(id) ?? 0) > 20, `${id} was found ${found.get(id)} times`);
  });
});

describe("RuleIndex", () => {
  it("compares a rule with those around it, not with thousands beside it", () => {
    const blocks = Array.from({ length: 2000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
    const egress = [...blocks, "10.3.0.0/16"].map((one, i) => ({
      toCIDR: [one],
      toPorts: [{ ports: [{ port: String(i < 2000 ? i + 1 : 1), endPort: i < 2000 ? i + 77 : 5000, protocol: "TCP" }] }],
    }));
    const { rules } = parsePolicy(own({ egress }));
    const index = new RuleIndex(rules, worldOf([]));
    const around = index.entries.map((entry) => index.around(entry).map(({ rule }) => rule.origin.index));
    assert.deepEqual(around[5], [5]);
    assert.deepEqual(around[770], [770, 2000]);
    assert.deepEqual(around[2000], [2000]);
  });
});
