import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compareWorlds } from "../reach/compare.ts";
import { parsePort } from "./connection.ts";
import { findParty } from "./find.ts";
import { memorySource } from "./objects.ts";
import { remedyFor } from "./remedy.ts";
import { createWorld } from "./world.ts";

const workload = (name: string, namespace: string, labels: object) => ({
  kind: "Deployment",
  metadata: { name, namespace },
  spec: { template: { metadata: { labels }, spec: { containers: [{ ports: [{ name: "http", containerPort: 80 }] }] } } },
});
const cluster = [
  ...["web", "mon", "api"].map((name) => workload(name, "shop", { app: name, tier: "x" })),
  ...["web", "db"].map((name) => workload(name, "data", { app: name, tier: "x" })),
  { kind: "CiliumCIDRGroup", metadata: { name: "bad" }, spec: { externalCIDRs: ["198.51.100.0/24", "1.1.1.0/24"] } },
];
const ports = (...list: object[]) => ({ toPorts: [{ ports: list }] });
const http = ports({ port: "80", protocol: "TCP" }, { port: "443", protocol: "TCP" });

type Case = {
  readonly rule: object;
  readonly ask: readonly [string, string, string];
  readonly kind?: string;
  readonly subject?: object;
  readonly changed?: RegExp;
};

const web = ["shop/web", "shop/api", "80"] as const;
const address = ["shop/api", "198.51.100.7", "443"] as const;

/** A rule that denies, and a connection that it denies. */
const cases: Readonly<Record<string, Case>> = {
  "a selector and ports": {
    rule: { fromEndpoints: [{ matchLabels: { app: "web" } }, { matchLabels: { app: "mon" } }], ...http },
    ask: web,
  },
  "a selector of the whole namespace": { rule: { fromEndpoints: [{}], ...http }, ask: web },
  "selectors of all namespaces": {
    rule: { fromEndpoints: [{ matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "Exists" }] }], ...http },
    ask: web,
  },
  "a selector of a cluster-wide policy": { rule: { fromEndpoints: [{}], ...http }, ask: web, kind: "CiliumClusterwideNetworkPolicy" },
  "a range of ports": { rule: { fromEndpoints: [{}], ...ports({ port: "1", endPort: 1000 }) }, ask: web },
  "a named port": { rule: { fromEndpoints: [{}], ...ports({ port: "http", protocol: "TCP" }) }, ask: web },
  "every port of a protocol": {
    rule: { fromEndpoints: [{}], ...ports({ port: "0", protocol: "TCP" }) },
    ask: web,
    changed: /^allowed shop\/web shop\/api 0\/TCP, 80\/TCP$/,
  },
  "types of ICMP": {
    rule: { fromEndpoints: [{}], icmps: [{ fields: [{ type: 8 }, { type: 0 }] }] },
    ask: ["shop/web", "shop/api", "icmp"],
  },
  "the cluster": { rule: { fromEntities: ["cluster"], ...http }, ask: web },
  everybody: { rule: { fromEntities: ["all"], ...http }, ask: web },
  "ports of everybody": { rule: http, ask: web },
  "ports of everywhere": { rule: http, ask: address },
  "a block": { rule: { toCIDR: ["198.51.100.0/24", "10.0.0.0/8"], ...http }, ask: address },
  "a block with exceptions": { rule: { toCIDRSet: [{ cidr: "198.0.0.0/8", except: ["198.51.100.128/25"] }], ...http }, ask: address },
  "a group of blocks": { rule: { toCIDRSet: [{ cidrGroupRef: "bad" }], ...http }, ask: address },
  "the world": { rule: { toEntities: ["world", "host"], ...http }, ask: address },
  "everybody, an address": { rule: { toEntities: ["all"], ...http }, ask: address },
  "the world as such": {
    rule: { toEntities: ["all"], ...http },
    ask: ["shop/api", "world", "443"],
    changed: /^allowed shop\/api world\S* 443\/TCP$/,
  },
  "nodes, that of the API server": { rule: { fromEntities: ["remote-node", "host"], ...http }, ask: ["kube-apiserver", "shop/api", "80"] },
  "nodes but that of the API server": { rule: { fromEntities: ["remote-node", "host"], ...http }, ask: ["host", "shop/api", "80"] },
};

/** Rules whose policies are for others, too. */
const forMany: typeof cases = {
  "all pods of the namespace": { rule: { fromEndpoints: [{}], ...http }, ask: web, subject: {} },
  "pods by a label that others have": { rule: { toEntities: ["world"], ...http }, ask: address, subject: { matchLabels: { tier: "x" } } },
  "all pods": { rule: { fromEntities: ["all"], ...http }, ask: web, subject: {}, kind: "CiliumClusterwideNetworkPolicy" },
  "the API server by its service's port": {
    rule: { toEntities: ["kube-apiserver"], ...http },
    ask: ["shop/api", "kube-apiserver", "443"],
    subject: {},
  },
};

describe("a patch past a rule that denies", () => {
  for (const [name, { rule, ask, kind = "CiliumNetworkPolicy", subject, changed }] of Object.entries({ ...cases, ...forMany })) {
    it(`lets one connection through and changes nothing else: ${name}`, () => {
      const direction = JSON.stringify(rule).includes('"from') || ask[1] === "shop/api" ? "ingress" : "egress";
      const policy = {
        ...{ apiVersion: "cilium.io/v2", kind, metadata: { name: "p", ...(kind === "CiliumNetworkPolicy" ? { namespace: "shop" } : {}) } },
        spec: {
          endpointSelector: subject ?? { matchLabels: { app: "api" } },
          [direction]: [{ [direction === "ingress" ? "fromEntities" : "toEntities"]: ["all"] }],
          [`${direction}Deny`]: [rule],
        },
      };
      const objects = [...cluster, policy].map((object) => ({ object, source: memorySource("test") }));
      const before = createWorld(objects);
      const [from, to] = ask.slice(0, 2).map((text) => {
        const found = findParty(before, text);
        return "parties" in found ? found.parties[0] : undefined;
      });
      const port = parsePort(ask[2]);
      assert.ok(from && to && port);
      const remedy = remedyFor(before, { from, to, protocol: port.protocol ?? 6, port: port.port });
      assert.equal(remedy?.verb, "allow");
      const after = createWorld([...objects, ...remedy.objects.map((object) => ({ object, source: memorySource("patch") }))]);
      const changes = compareWorlds(before, after).map(
        (one) => `${one.kind} ${one.from.map((x) => x.title)} ${one.to.map((x) => x.title)} ${one.what}`,
      );
      const [what] = changes;
      const titles = [from, to].map(({ title }) => title.replace(/^([\d.]+)$/, "$1/32")).join(" ");
      assert.equal(changes.length, 1, changes.join("\n"));
      assert.match(what ?? "", changed ?? new RegExp(`^allowed ${titles} ${ask[2] === "icmp" ? "ICMP type 8" : `${ask[2]}/TCP`}$`));
    });
  }
});
