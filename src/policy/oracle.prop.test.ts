import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type LabelSet, labelSet } from "#labels/label-set.ts";
import { directions } from "#types/direction.ts";
import { NumericIdentity } from "#types/identity.ts";
import { type Prefix, prefixContains } from "#types/prefix.ts";
import { explainHttp } from "./explain/http.ts";
import { parsePolicy } from "./parse/parse.ts";
import { createRepository } from "./resolve/repository.ts";
import { applyIdentityChanges, type EndpointPolicy, type PolicyMapEntry, resolveEndpoint } from "./resolve/resolve.ts";
import { type Flow, verdict } from "./resolve/verdict.ts";
import { type ParsedPolicy, type PeerSelector, type PortSpec, policyKey, type Rule } from "./rule.ts";
import {
  createSelectorCache,
  type IdentityChange,
  type IdentityEntry,
  prefixOfLabels,
  type SelectorCache,
  usersOf,
} from "./selectors/selector-cache.ts";

// A small world, so that random policies and flows meet often.
const namespaces = ["a", "b"];
const apps = ["web", "api"];
const numbers = [1, 2, 3, 80, 81, 443];
const methods = ["GET", "PUT"];
/** What is asked for: one more than any rule names. */
const asked = [...methods, "POST"];

const podOf = (id: number, namespace: string, app: string, version: string): IdentityEntry => ({
  id: NumericIdentity(id),
  labels: labelSet([
    `k8s:io.kubernetes.pod.namespace=${namespace}`,
    "k8s:io.cilium.k8s.policy.cluster=default",
    `k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=${namespace}`,
    `k8s:app=${app}`,
    `k8s:version=${version}`,
  ]),
  namedPorts: [{ name: "http", protocol: 6, port: app === "web" ? 80 : 81 }],
});

const pods = namespaces.flatMap((namespace, n) =>
  apps.flatMap((app, a) => ["v1", "v2"].map((version, v) => podOf(1000 + 4 * n + 2 * a + v, namespace, app, version))),
);
const blocks: IdentityEntry[] = [
  { id: NumericIdentity(16777217), labels: labelSet(["cidr:10.0.0.0/8", "reserved:world"]) },
  { id: NumericIdentity(16777218), labels: labelSet(["cidr:10.1.0.0/16", "reserved:world"]) },
];
const everybody = [...pods, ...blocks];
const peerIds = [1, 2, 6, ...everybody.map((one) => one.id)];

const labels = fc.record({ app: fc.constantFrom(...apps), version: fc.constantFrom("v1", "v2") }, { requiredKeys: [] });
const selector = fc.oneof(
  labels.map((matchLabels) => ({ matchLabels })),
  fc
    .record({
      operator: fc.constantFrom("Exists", "DoesNotExist"),
      key: fc.constantFrom("app", "k8s:version", "k8s:io.kubernetes.pod.namespace"),
    })
    .map((one) => ({ matchExpressions: [one] })),
  fc
    .record({ operator: fc.constantFrom("In", "NotIn"), values: fc.constantFrom(["web"], ["api", "x"]) })
    .map((one) => ({ matchExpressions: [{ key: "app", ...one }] })),
);
const portOf = fc.oneof(
  fc.record({ port: fc.constantFrom(...numbers.map(String), "0", "http"), protocol: fc.constantFrom("TCP", "UDP", "ANY") }),
  fc
    .tuple(fc.constantFrom(1, 2, 79), fc.constantFrom(3, 80, 443))
    .map(([start, end]) => ({ port: String(start), endPort: end, protocol: "TCP" })),
);
const ports = (withHttp: boolean) =>
  fc.option(
    fc.oneof(
      { weight: 3, arbitrary: fc.array(portOf, { minLength: 1, maxLength: 2 }).map((list) => [{ ports: list }]) },
      {
        weight: withHttp ? 1 : 0,
        arbitrary: fc
          .tuple(fc.constantFrom(...numbers), fc.constantFrom(...methods))
          .map(([n, method]) => [{ ports: [{ port: String(n), protocol: "TCP" }], rules: { http: [{ method }] } }]),
      },
    ),
    { nil: undefined },
  );
const peersOf = (prefix: "from" | "to") =>
  fc.oneof(
    fc.array(selector, { maxLength: 2 }).map((list) => ({ [`${prefix}Endpoints`]: list })),
    fc.constantFrom("all", "world", "cluster", "host").map((one) => ({ [`${prefix}Entities`]: [one] })),
    fc.constantFrom("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0").map((one) => ({ [`${prefix}CIDR`]: [one] })),
    fc.constant({}),
    fc.constant({}),
  );
const entry = (prefix: "from" | "to", allow: boolean) =>
  fc.tuple(peersOf(prefix), ports(allow)).map(([peers, toPorts]) => ({ ...peers, ...(toPorts === undefined ? {} : { toPorts }) }));
const few = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 2 });
const spec = fc.record(
  {
    endpointSelector: fc.oneof(
      fc.constant({}),
      labels.map((matchLabels) => ({ matchLabels })),
    ),
    ingress: few(entry("from", true)),
    ingressDeny: few(entry("from", false)),
    egress: few(entry("to", true)),
    egressDeny: few(entry("to", false)),
    enableDefaultDeny: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }),
  },
  { requiredKeys: ["endpointSelector", "ingress"] },
);
const cilium = fc.tuple(fc.constantFrom("a", "a", "b", ""), spec).map(([namespace, body]) => ({
  kind: namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
  metadata: { name: "p", namespace },
  spec: body,
}));
const tierPeers = (namespaced: fc.Arbitrary<unknown>) => fc.array(namespaced, { minLength: 1, maxLength: 2 });
const tierPeer = fc.oneof(
  fc.constantFrom({}, { matchLabels: { "kubernetes.io/metadata.name": "a" } }).map((one) => ({ namespaces: one })),
  labels.map((matchLabels) => ({ pods: { namespaceSelector: {}, podSelector: { matchLabels } } })),
);
const tierRule = (field: "from" | "to") =>
  fc
    .tuple(fc.constantFrom("Accept", "Deny", "Pass"), tierPeers(tierPeer), fc.option(fc.constantFrom(...numbers), { nil: undefined }))
    .map(([action, list, number]) => ({
      action,
      [field]: list,
      ...(number === undefined ? {} : { protocols: [{ tcp: { destinationPort: { number } } }] }),
    }));
const tiered = fc
  .record({
    tier: fc.constantFrom("Admin", "Baseline"),
    priority: fc.constantFrom(1, 2),
    subject: fc.constant({ namespaces: {} }),
    ingress: few(tierRule("from")),
    egress: few(tierRule("to")),
  })
  .map((body) => ({ kind: "ClusterNetworkPolicy", metadata: { name: "p" }, spec: body }));
/** Rules that nearly always meet on one port and one peer selector, so that merging has to decide. */
const crowded = fc
  .tuple(
    fc.constantFrom("ingress", "egress", "ingressDeny"),
    fc.constantFrom({}, { app: "web" }),
    fc.constantFrom(...methods, "none", "both"),
  )
  .map(([section, matchLabels, method]) => {
    const http = method === "both" ? methods.map((one) => ({ method: one })) : [{ method }];
    const rules = method === "none" || section === "ingressDeny" ? {} : { rules: { http } };
    const peers = { [section === "egress" ? "toEndpoints" : "fromEndpoints"]: [{ matchLabels }] };
    const body = { endpointSelector: {}, [section]: [{ ...peers, toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], ...rules }] }] };
    return { kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "a" }, spec: body };
  });
const spread = fc.array(fc.oneof({ weight: 3, arbitrary: cilium }, { weight: 2, arbitrary: tiered }), { minLength: 1, maxLength: 7 });
const dense = fc.array(crowded, { minLength: 1, maxLength: 5 });
type Objects = readonly { readonly metadata: object }[];
const policies = fc.oneof<fc.WeightedArbitrary<Objects>[]>({ weight: 3, arbitrary: spread }, { weight: 1, arbitrary: dense });
const pairs = fc.oneof<fc.WeightedArbitrary<[Objects, Objects]>[]>(
  { weight: 2, arbitrary: fc.tuple(spread, spread) },
  { weight: 1, arbitrary: fc.tuple(dense, dense) },
);

function parseAll(objects: readonly { readonly metadata: object }[]): ParsedPolicy[] {
  return objects.map((one, i) => parsePolicy({ ...one, metadata: { ...one.metadata, name: `p${i}` } }));
}

function resolve(parsed: readonly ParsedPolicy[], subject: IdentityEntry, known: readonly IdentityEntry[] = everybody) {
  const cache = createSelectorCache();
  cache.update({ add: known });
  const repo = createRepository().with(...parsed);
  const policy = resolveEndpoint(repo, cache, { identity: subject.id, labels: subject.labels, namedPorts: subject.namedPorts ?? [] });
  return { policy, cache };
}

// The oracle: no filters, maps, levels or prefixes, just the rules one after another.
function hasPeer(peer: PeerSelector, set: LabelSet, prefix: Prefix | undefined): boolean {
  if (peer.any || peer.none) return peer.any;
  if (peer.within !== undefined && (prefix === undefined || !prefixContains(peer.within, prefix))) return false;
  return peer.requirements.every(({ source, key, operator, values }) => {
    const found = set.labels.find((one) => one.key === key && (source === "any" || one.source === source));
    if (operator === "Exists" || operator === "DoesNotExist") return (found !== undefined) === (operator === "Exists");
    const listed = found !== undefined && values.includes(found.value);
    return operator === "In" ? listed : !listed;
  });
}

function hasPort({ protocol, name, port, endPort }: PortSpec, flow: Flow, receiver: IdentityEntry | undefined): boolean {
  if (protocol !== 0 && protocol !== flow.protocol) return false;
  if (name !== "")
    return (receiver?.namedPorts ?? []).some((one) => one.name === name && one.protocol === protocol && one.port === flow.port);
  return port === 0 || (flow.port >= port && flow.port <= Math.max(port, endPort));
}

function actionOf(rule: Rule, flow: Flow, receiver: IdentityEntry | undefined): "denied" | "redirected" | "allowed" | "pass" | undefined {
  const hit = rule.ports === null || rule.ports.some((one) => one.ports.some((spec_) => hasPort(spec_, flow, receiver)));
  if (!hit) return undefined;
  if (rule.action !== "allow") return rule.action === "deny" ? "denied" : "pass";
  return rule.ports?.some((one) => one.l7 !== undefined && one.ports.some((spec_) => hasPort(spec_, flow, receiver))) === true
    ? "redirected"
    : "allowed";
}

/** The HTTP methods that a rule allows on the flow; null: every one. */
function methodsOf(rule: Rule, flow: Flow, receiver: IdentityEntry | undefined): readonly string[] | null {
  if (rule.ports === null) return null;
  const hit = rule.ports.filter((one) => one.ports.some((spec_) => hasPort(spec_, flow, receiver)));
  return hit.some((one) => one.l7 === undefined) ? null : hit.flatMap((one) => (one.l7?.http ?? []).map(({ method = "" }) => method));
}

const strengths = ["denied", "redirected", "allowed", "pass"] as const;

/** The verdict; of a redirected flow, with the methods that pass. */
function oracle(parsed: readonly ParsedPolicy[], subject: IdentityEntry, peer: IdentityEntry, flow: Flow): string {
  const rules = parsed
    .flatMap((one) => one.rules)
    .filter(
      (rule) =>
        rule.direction === flow.direction &&
        hasPeer({ text: "", any: false, none: false, except: [], requirements: rule.subject.requirements }, subject.labels, undefined),
    );
  if (rules.length === 0) return "allowed";
  const prefix = prefixOfLabels(peer.labels);
  const receiver = flow.direction === "ingress" ? subject : peer;
  const rank = (rule: Rule) => (rule.tier * 10000 + rule.priority) * 10000 + rule.order;
  const hits = rules.filter((rule) => rule.peers.some((one) => hasPeer(one, peer.labels, prefix)));
  let tier = -1;
  for (const step of [...new Set(hits.map(rank))].sort((x, y) => x - y)) {
    const at = hits.filter((rule) => rank(rule) === step);
    if ((at[0]?.tier ?? 0) <= tier) continue;
    const actions = at.map((rule) => actionOf(rule, flow, receiver));
    const strongest = strengths.find((one) => actions.includes(one));
    if (strongest === "pass") tier = at[0]?.tier ?? 0;
    else if (strongest === "redirected") {
      const allows = at.filter((rule) => ["redirected", "allowed"].includes(actionOf(rule, flow, receiver) ?? ""));
      const open = !rules.some((rule) => rule.defaultDeny) || allows.some((rule) => methodsOf(rule, flow, receiver) === null);
      return `redirected ${asked.filter((one) => open || allows.some((rule) => methodsOf(rule, flow, receiver)?.includes(one)))}`;
    } else if (strongest !== undefined) return strongest;
  }
  if (flow.direction === "ingress" && peer.id === 1) return "allowed";
  return rules.some((rule) => rule.defaultDeny) ? "denied" : "allowed";
}

const host: IdentityEntry = { id: NumericIdentity(1), labels: labelSet(["reserved:host"]) };
const known = new Map<number, IdentityEntry>([
  ...everybody.map((one): [number, IdentityEntry] => [one.id, one]),
  [1, host],
  [2, { id: NumericIdentity(2), labels: labelSet(["reserved:world"]) }],
  [6, { id: NumericIdentity(6), labels: labelSet(["reserved:remote-node"]) }],
]);

const sample = <T>(list: readonly T[], i: number): T => list[i % list.length] as T;

function text(entries: readonly PolicyMapEntry[]): string[] {
  return entries.map((one) => JSON.stringify(one)).sort();
}

/** What the engine says, in the oracle's words. */
function answer(policy: EndpointPolicy, flow: Flow): string {
  const said = verdict(policy, flow).verdict;
  if (said !== "redirected") return said;
  const request = (method: string) => ({ method, path: "/", host: "", headers: [] });
  return `redirected ${asked.filter((one) => explainHttp(policy, flow, request(one)).allowed)}`;
}

const tcpFlows: readonly Flow[] = directions.flatMap((direction) =>
  peerIds.flatMap((id) => numbers.map((port) => ({ direction, identity: NumericIdentity(id), protocol: 6, port }))),
);

/** The methods that get through; all of them where no proxy looks. */
function passing(policy: EndpointPolicy, flow: Flow): readonly string[] {
  const said = answer(policy, flow);
  if (said === "denied" || said === "error") return [];
  return said === "allowed" ? asked : said.slice("redirected ".length).split(",");
}

/** Applies changes to the policy, and what it says of them to a copy of its map. */
function follow(policy: EndpointPolicy, cache: SelectorCache, moved: readonly IdentityChange[], map: Set<string>): void {
  const before = text(policy.entries());
  const delta = applyIdentityChanges(policy, cache, moved);
  // Who does not use a selector that changed has nothing to do.
  if (!usersOf(moved).has(policy)) assert.deepEqual([delta, text(policy.entries())], [{ added: [], removed: [] }, before]);
  for (const row of delta.removed) assert.ok(map.delete(JSON.stringify(row)), "only rows that were there are removed");
  for (const row of delta.added) map.add(JSON.stringify(row));
}

describe("the policy engine", () => {
  it("never gives policies together an access that neither gives alone", () => {
    fc.assert(
      fc.property(pairs, fc.nat(7), ([left, right], who) => {
        const parsed = parseAll([...left, ...right]);
        const subject = sample(pods, who);
        const [both, one, other] = [parsed, parsed.slice(0, left.length), parsed.slice(left.length)].map(
          (some) => resolve(some, subject).policy,
        );
        for (const flow of tcpFlows) {
          const alone = [one, other].flatMap((policy) => passing(policy as EndpointPolicy, flow));
          const extra = passing(both as EndpointPolicy, flow).filter((method) => method !== "" && !alone.includes(method));
          assert.deepEqual(extra, [], JSON.stringify({ flow, subject: subject.id }));
        }
      }),
      { numRuns: 150, seed: 6 },
    );
  });

  it("agrees with an oracle that tries the rules one by one", () => {
    fc.assert(
      fc.property(policies, fc.nat(7), (objects, who) => {
        const parsed = parseAll(objects);
        const subject = sample(pods, who);
        const { policy } = resolve(parsed, subject);
        for (const direction of directions) {
          for (const id of peerIds) {
            for (const protocol of [6, 17, 1]) {
              for (const port of numbers) {
                const flow: Flow = { direction, identity: NumericIdentity(id), protocol, port };
                const wanted = oracle(parsed, subject, known.get(id) as IdentityEntry, flow);
                assert.equal(answer(policy, flow), wanted, JSON.stringify({ flow, subject: subject.id }));
              }
            }
          }
        }
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  it("gives the same policy whatever the order in which policies arrive", () => {
    fc.assert(
      fc.property(policies, fc.nat(7), (objects, who) => {
        const parsed = parseAll(objects);
        const subject = sample(pods, who);
        const one = resolve(parsed, subject).policy;
        const other = resolve([...parsed].reverse(), subject, [...everybody].reverse()).policy;
        assert.deepEqual(text(one.entries()), text(other.entries()));
        assert.equal(one.error, other.error);
      }),
      { numRuns: 150, seed: 8 },
    );
  });

  it("ends up the same by adding and removing identities as by computing anew", () => {
    const change = fc.record({ index: fc.nat(everybody.length - 1), add: fc.boolean() });
    fc.assert(
      fc.property(policies, fc.nat(7), fc.array(change, { maxLength: 15 }), (objects, who, changes) => {
        const parsed = parseAll(objects);
        const subject = sample(pods, who);
        const present = new Map<number, IdentityEntry>();
        const { policy, cache } = resolve(parsed, subject, []);
        const map = new Set(text(policy.entries()));
        for (const { index, add } of changes) {
          const one = sample(everybody, index);
          const moved = cache.update(add ? { add: [one] } : { remove: [one.id] });
          if (add) present.set(one.id, one);
          else present.delete(one.id);
          follow(policy, cache, moved, map);
        }
        const anew: EndpointPolicy = resolve(parsed, subject, [...present.values()]).policy;
        assert.deepEqual([...map].sort(), text(anew.entries()));
        assert.deepEqual(text(policy.entries()), text(anew.entries()));
        // The selectors in use are current too, for whoever is resolved next.
        const next = resolveEndpoint(createRepository().with(...parsed), cache, policy.subject);
        assert.deepEqual(text(next.entries()), text(anew.entries()));
      }),
      { numRuns: 200, seed: 9 },
    );
  });

  it("ends up the same by changing policies one by one as with all at once, and says whom each concerns", () => {
    const change = fc.record({ index: fc.nat(6), add: fc.boolean() });
    fc.assert(
      fc.property(policies, fc.nat(7), fc.array(change, { maxLength: 12 }), (objects, who, changes) => {
        const parsed = parseAll(objects);
        const subject = sample(pods, who);
        let repo = createRepository();
        for (const { index, add } of changes) {
          const one = sample(parsed, index);
          const before = repo.select(subject.labels, subject.id);
          repo = add ? repo.with(one) : repo.without(policyKey(one.ref));
          if (!repo.concerns(one, subject.labels, subject.id)) assert.deepEqual(repo.select(subject.labels, subject.id), before);
        }
        const anew = createRepository().with(...repo.policies.values());
        assert.deepEqual(repo.select(subject.labels, subject.id), anew.select(subject.labels, subject.id));
      }),
      { numRuns: 200, seed: 11 },
    );
  });
});
