import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fqdnMatcher } from "#fqdn/pattern.ts";
import { labelSet } from "#labels/label-set.ts";
import { directions } from "#types/direction.ts";
import { NumericIdentity } from "#types/identity.ts";
import { compileHttpRule } from "./l7/http.ts";
import { parsePolicy } from "./parse/parse.ts";
import { portablePolicy } from "./parse/portable.ts";
import { createRepository } from "./resolve/repository.ts";
import { resolveEndpoint } from "./resolve/resolve.ts";
import { verdict } from "./resolve/verdict.ts";
import { createSelectorCache } from "./selectors/selector-cache.ts";
import { settingsWith } from "./settings.ts";

/** Policies that use every field, to be damaged. */
const tls = { secret: { namespace: "a", name: "s" } };
const seeds: readonly unknown[] = [
  {
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p", namespace: "a" },
    spec: {
      endpointSelector: { matchLabels: { app: "web" }, matchExpressions: [{ key: "tier", operator: "NotIn", values: ["x"] }] },
      enableDefaultDeny: { ingress: true, egress: false },
      log: { value: "x" },
      labels: [{ key: "a", value: "b" }, "k8s:c=d"],
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "a" } }, {}],
          toPorts: [
            {
              ports: [{ port: "80", protocol: "TCP" }, { port: "http" }],
              rules: {
                http: [{ method: "GET", path: "/a.*", host: "h", headers: ["X: y"], headerMatches: [{ name: "X", mismatch: "ADD" }] }],
              },
            },
          ],
          authentication: { mode: "required" },
        },
        {
          fromCIDRSet: [
            { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] },
            { cidrGroupRef: "g" },
            { cidrGroupSelector: { matchLabels: { a: "b" } } },
          ],
        },
        { fromEntities: ["world", "host"], icmps: [{ fields: [{ type: 8 }, { type: "EchoRequest", family: "IPv6" }] }] },
      ],
      ingressDeny: [{ fromCIDR: ["::/0"], toPorts: [{ ports: [{ port: "1", endPort: 9, protocol: "UDP" }] }] }],
      egress: [
        { toFQDNs: [{ matchName: "a.b" }, { matchPattern: "*.c" }] },
        {
          toServices: [
            { k8sService: { serviceName: "s", namespace: "n" } },
            { k8sServiceSelector: { selector: { matchLabels: { a: "b" } } } },
          ],
        },
        { toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: [{ matchPattern: "*" }] } }] },
        { toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], serverNames: ["a.b"], terminatingTLS: tls, originatingTLS: tls }] },
        {
          toPorts: [
            { ports: [{ port: "9", protocol: "TCP" }], listener: { envoyConfig: { kind: "K", name: "c" }, name: "l", priority: 3 } },
          ],
        },
        { toPorts: [{ ports: [{ port: "9092", protocol: "TCP" }], rules: { kafka: [{ role: "produce", topic: "t" }] } }] },
        { toEntities: ["dns", "kube-apiserver"] },
        { toGroups: [{ aws: {} }] },
      ],
    },
  },
  {
    kind: "CiliumClusterwideNetworkPolicy",
    metadata: { name: "c" },
    specs: [
      { nodeSelector: { matchLabels: { role: "x" } }, ingress: [{ fromNodes: [{}] }] },
      { endpointSelector: {}, egressDeny: [{}] },
    ],
  },
  {
    kind: "NetworkPolicy",
    metadata: { name: "n", namespace: "a" },
    spec: {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { a: "b" } } }, { ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/9"] } }],
          ports: [{ port: 80, endPort: 90, protocol: "TCP" }],
        },
      ],
      egress: [
        {
          to: [{ namespaceSelector: { matchExpressions: [{ key: "env", operator: "Exists" }] } }],
          ports: [{ port: "dns", protocol: "UDP" }],
        },
      ],
    },
  },
  {
    kind: "ClusterNetworkPolicy",
    metadata: { name: "k" },
    spec: {
      tier: "Admin",
      priority: 3,
      subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "web" } } } },
      ingress: [
        {
          name: "r",
          action: "Pass",
          from: [{ namespaces: { matchLabels: { env: "x" } } }],
          protocols: [{ tcp: { destinationPort: { number: 80 } } }],
        },
      ],
      egress: [
        {
          action: "Deny",
          to: [{ networks: ["10.0.0.0/8"] }, { nodes: {} }],
          protocols: [{ udp: { destinationPort: { range: { start: 1, end: 9 } } } }],
        },
        { action: "Accept", to: [{ domainNames: ["*.a.b"] }], protocols: [{ destinationNamedPort: "http" }] },
      ],
    },
  },
];

const settings = settingsWith({ nodeSelectorLabels: true, hostFirewall: true });

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    1.5,
    65536,
    1e21,
    "",
    "*",
    "(",
    "80",
    "0x50",
    "__proto__",
    "a".repeat(300),
    "ä\u0000",
    "::ffff:1.2.3.4/97",
    "k8s:a:b",
    [],
    {},
    [null],
    [[]],
  ),
  fc.string(),
  fc.jsonValue({ maxDepth: 2 }),
);
/** A way down an object, and what to do at its end. */
const damage = fc.record({
  way: fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }),
  act: fc.constantFrom("replace", "replace", "remove", "rename", "repeat"),
  value: junk,
});
type Damage = { readonly way: readonly number[]; readonly act: string; readonly value: unknown };
type Node = Record<string, unknown>;

function damaged(object: unknown, { way, act, value }: Damage): unknown {
  const root = structuredClone(object) as Node;
  let parent: Node = root;
  let key = "spec";
  for (const step of way) {
    const keys = Object.keys(parent);
    key = keys[step % keys.length] ?? key;
    const next = parent[key];
    if (typeof next !== "object" || next === null || Object.keys(next).length === 0) break;
    parent = next as Node;
  }
  const at = Object.keys(parent)[0] ?? key;
  if (act === "remove" && Array.isArray(parent)) parent.shift();
  else if (act === "remove") delete parent[at];
  // A list with a name in it is nothing that JSON can say.
  else if (act === "rename" && !Array.isArray(parent)) parent[String(value).slice(0, 20)] = parent[at];
  else if (act === "repeat" && Array.isArray(parent)) parent.push(...Array.from({ length: 45 }, () => structuredClone(parent[0])));
  else parent[at] = value;
  return root;
}

/** Everything that is done with a policy, however odd. Gives whether it was accepted. */
function putThrough(object: unknown): boolean {
  const parsed = parsePolicy(object, settings);
  assert.ok(parsed.issues.length === 0 || parsed.rules.length === 0, "what is refused has no rules");
  for (const { path, message } of [...parsed.issues, ...parsed.warnings]) assert.ok(typeof path === "string" && message.length > 0);
  portablePolicy(object);
  const cache = createSelectorCache();
  const web = {
    id: NumericIdentity(1000),
    labels: labelSet(["k8s:app=web", "k8s:io.kubernetes.pod.namespace=a", "k8s:io.cilium.k8s.policy.cluster=default"]),
  };
  cache.update({ add: [web] });
  const repo = createRepository(settings).with(parsed);
  const policy = resolveEndpoint(repo, cache, { identity: web.id, labels: web.labels, namedPorts: [] });
  for (const direction of directions) verdict(policy, { direction, identity: web.id, protocol: 6, port: 80 });
  const l7 = directions.flatMap((direction) => policy.l7(direction).flatMap(({ rules }) => rules));
  for (const one of l7.flatMap(({ http }) => http ?? [])) compileHttpRule(one);
  for (const one of [...l7.flatMap(({ dns }) => dns ?? []), ...repo.fqdns()]) fqdnMatcher(one)("a.b.");
  for (const { precedence } of policy.entries()) assert.ok(precedence >= 0 && precedence < 2 ** 32);
  repo.prefixes();
  policy.release();
  assert.equal(cache.selectors().length, 0);
  return parsed.issues.length === 0;
}

describe("bad input", () => {
  it("accepts the policies that are going to be damaged", () => {
    for (const one of seeds) assert.ok(putThrough(one));
  });
  it("never throws out of the engine", (test) => {
    const counts = { accepted: 0, refused: 0 };
    const input = fc.oneof(
      {
        weight: 8,
        arbitrary: fc
          .tuple(fc.constantFrom(...seeds), fc.array(damage, { minLength: 1, maxLength: 4 }))
          .map(([seed, list]) => list.reduce(damaged, seed)),
      },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.constantFrom("CiliumNetworkPolicy", "NetworkPolicy", "ClusterNetworkPolicy", "X"), fc.jsonValue())
          .map(([kind, spec]) => ({ kind, metadata: { name: "p" }, spec })),
      },
      { weight: 1, arbitrary: fc.jsonValue() },
    );
    fc.assert(
      fc.property(input, (object) => {
        counts[putThrough(object) ? "accepted" : "refused"]++;
      }),
      { numRuns: 20_000, seed: 10, interruptAfterTimeLimit: 3000, markInterruptAsFailure: false },
    );
    test.diagnostic(`policies fuzzed: ${counts.accepted} accepted, ${counts.refused} refused, 0 thrown`);
    assert.ok(counts.accepted > 20 && counts.refused > 20);
  });
});
