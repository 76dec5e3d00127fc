import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cidrLabels } from "#identity/cidr.ts";
import { labelSet } from "#labels/label-set.ts";
import type { Direction } from "#types/direction.ts";
import { NumericIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { parseProtocol } from "#types/proto.ts";
import { parsePolicy } from "../parse/parse.ts";
import { createSelectorCache, type IdentityEntry } from "../selectors/selector-cache.ts";
import { type PolicySettings, settingsWith } from "../settings.ts";
import { createRepository, type ServiceView } from "./repository.ts";
import { applyIdentityChanges, type EndpointPolicy, resolveEndpoint } from "./resolve.ts";
import { verdict } from "./verdict.ts";

const pod = (id: number, namespace: string, ...labels: string[]): IdentityEntry => ({
  id: NumericIdentity(id),
  labels: labelSet([
    `k8s:io.kubernetes.pod.namespace=${namespace}`,
    "k8s:io.cilium.k8s.policy.cluster=default",
    ...labels.map((one) => `k8s:${one}`),
  ]),
});

const web = pod(1001, "shop", "app=web");
const api = pod(1002, "shop", "app=api");
const stranger = pod(1003, "other", "app=api");
const dns = pod(1004, "kube-system", "k8s-app=kube-dns");
const block = { id: NumericIdentity(16777217), labels: cidrLabels(Prefix("10.1.0.0/16"), { ipv4: true, ipv6: false }) };

type Options = {
  readonly subject?: IdentityEntry;
  readonly settings?: Partial<PolicySettings>;
  readonly services?: readonly ServiceView[];
};

function resolve(specs: readonly unknown[], { subject = web, settings = {}, services = [] }: Options = {}) {
  const all = settingsWith(settings);
  const parsed = specs.map((spec, i) =>
    parsePolicy({ kind: "CiliumNetworkPolicy", metadata: { name: `p${i}`, namespace: "shop" }, spec }, all),
  );
  for (const one of parsed) assert.deepEqual(one.issues, []);
  const repo = createRepository(all)
    .with(...parsed)
    .withServices(services);
  const cache = createSelectorCache();
  cache.update({ add: [web, api, stranger, dns, block] });
  const policy = resolveEndpoint(repo, cache, { identity: subject.id, labels: subject.labels, namedPorts: [] });
  return { policy, repo, cache };
}

function judge(policy: EndpointPolicy, direction: Direction, peer: number, port: string): string {
  const [name = "", number = "0"] = port.split("/");
  return verdict(policy, { direction, identity: NumericIdentity(peer), protocol: parseProtocol(name) ?? 0, port: Number(number) }).verdict;
}

const toWeb = (rule: unknown) => ({ endpointSelector: { matchLabels: { app: "web" } }, ...(rule as object) });
const port = (number: number, protocol = "TCP") => [{ ports: [{ port: String(number), protocol }] }];

describe("resolveEndpoint", () => {
  it("lets everything through where no policy selects the endpoint", () => {
    const { policy } = resolve([]);
    assert.equal(policy.ingress.enforced, false);
    assert.equal(judge(policy, "ingress", 1003, "TCP/80"), "allowed");
  });

  it("denies by default and allows the peers of the policy's own namespace only", () => {
    const { policy } = resolve([toWeb({ ingress: [{ fromEndpoints: [{ matchLabels: { app: "api" } }] }] })]);
    assert.equal(judge(policy, "ingress", 1002, "TCP/80"), "allowed");
    assert.equal(judge(policy, "ingress", 1003, "TCP/80"), "denied");
    assert.deepEqual(
      policy.ingress.defaultDenyBy.map((one) => one.name),
      ["p0"],
    );
  });

  it("lets the node reach its pods, unless a rule denies it", () => {
    const allow = toWeb({ ingress: [{}] });
    assert.equal(judge(resolve([allow]).policy, "ingress", 1, "TCP/80"), "allowed");
    const deny = toWeb({ ingressDeny: [{ fromEntities: ["host"] }] });
    assert.equal(judge(resolve([allow, deny]).policy, "ingress", 1, "TCP/80"), "denied");
  });

  it("lets a deny win over a narrower allow", () => {
    const { policy } = resolve([
      toWeb({ ingress: [{ fromEndpoints: [{ matchLabels: { app: "api" } }], toPorts: port(80) }] }),
      toWeb({ ingressDeny: [{ fromEndpoints: [{}] }] }),
    ]);
    assert.equal(judge(policy, "ingress", 1002, "TCP/80"), "denied");
  });

  it("redirects HTTP, and unites it with a plain rule of the same peers and port", () => {
    const http = [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }];
    const peers = { fromEndpoints: [{ matchLabels: { app: "api" } }] };
    const rules = [toWeb({ ingress: [{ ...peers, toPorts: http }] }), toWeb({ ingress: [{ ...peers, toPorts: port(80) }] })];
    const { policy } = resolve(rules);
    assert.equal(judge(policy, "ingress", 1002, "TCP/80"), "redirected");
    assert.deepEqual(
      policy.l7("ingress").map((one) => one.rules.map((rule) => rule.http)),
      [[[{ method: "GET" }, {}]], [null]],
    );
  });

  it("keeps HTTP rules as they are where merging restricts", () => {
    const http = [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }];
    const peers = { fromEndpoints: [{ matchLabels: { app: "api" } }] };
    const rules = [toWeb({ ingress: [{ ...peers, toPorts: http }] }), toWeb({ ingress: [{ ...peers, toPorts: port(80) }] })];
    const { policy } = resolve(rules, { settings: { l7Merge: "restrict", allowLocalhost: "policy" } });
    assert.deepEqual(
      policy.l7("ingress").flatMap((one) => one.rules.map((rule) => rule.http)),
      [[{ method: "GET" }]],
    );
  });

  it("lets one policy's HTTP rules restrict by its annotation, wherever it stands among the others", () => {
    const peers = { fromEndpoints: [{ matchLabels: { app: "api" } }] };
    const http = (method: string) => [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method }] } }];
    const object = (name: string, toPorts: unknown, annotations = {}) =>
      parsePolicy({
        kind: "CiliumNetworkPolicy",
        metadata: { name, namespace: "shop", annotations },
        spec: toWeb({ ingress: [{ ...peers, toPorts }] }),
      });
    const restrict = { "policy.cilium.io/l7-merge": "restrict" };
    const rulesOf = (...parsed: ReturnType<typeof object>[]) => {
      const cache = createSelectorCache();
      cache.update({ add: [web, api] });
      const repo = createRepository(settingsWith({ allowLocalhost: "policy" })).with(...parsed);
      const policy = resolveEndpoint(repo, cache, { identity: web.id, labels: web.labels, namedPorts: [] });
      return policy.l7("ingress").flatMap((one) => one.rules.map(({ http: rules }) => rules?.map(({ method = "any" }) => method).sort()));
    };
    for (const [first, second, third] of [
      ["a", "b", "c"],
      ["b", "c", "a"],
      ["c", "a", "b"],
    ] as const) {
      const [get, put] = [object(first, http("GET"), restrict), object(second, http("PUT"))];
      assert.deepEqual(rulesOf(get, put, object(third, port(80))), [["GET", "PUT"]]);
    }
    assert.deepEqual(rulesOf(object("a", http("GET")), object("b", port(80))), [["GET", "any"]]);
    assert.deepEqual(rulesOf(object("a", http("GET"), { "policy-l7-merge": "restrict" }), object("b", port(80))), [["GET"]]);
    assert.equal(object("a", http("GET"), { "policy.cilium.io/l7-merge": "narrow" }).issues.length, 1);
  });

  it("says when rules can not be merged, whatever their order", () => {
    const rule = (rules: unknown) =>
      toWeb({ egress: [{ toEndpoints: [{}], toPorts: [{ ports: [{ port: "53", protocol: "TCP" }], rules }] }] });
    const [one, other] = [rule({ http: [{}] }), rule({ dns: [{ matchPattern: "*" }] })];
    assert.equal(resolve([one, other]).policy.error, "cannot merge conflicting L7 parsers (dns/http)");
    assert.equal(resolve([other, one]).policy.error, "cannot merge conflicting L7 parsers (dns/http)");
  });

  it("matches address blocks by containment, less the exceptions", () => {
    const { policy } = resolve([toWeb({ egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.2.0.0/16"] }] }] })]);
    assert.equal(judge(policy, "egress", 16777217, "TCP/443"), "allowed");
    const { policy: excepted } = resolve([toWeb({ egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }] })]);
    assert.equal(judge(excepted, "egress", 16777217, "TCP/443"), "denied");
  });

  it("takes an empty list as default deny, and says that it is not portable", () => {
    const spec = toWeb({ ingress: [], egress: [] });
    const { policy } = resolve([spec]);
    assert.equal(judge(policy, "ingress", 1002, "TCP/80"), "denied");
    assert.equal(judge(policy, "egress", 1002, "TCP/80"), "denied");
    const { warnings } = parsePolicy({ kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "shop" }, spec });
    assert.deepEqual(
      warnings.map((one) => one.path),
      ["spec.ingress", "spec.egress"],
    );
  });

  it("covers the API server's own port where a rule names the service's", () => {
    const services = [
      { namespace: "default", name: "kubernetes", labels: labelSet([]), ports: [{ protocol: 6, port: 443, targetPort: 6443 }] },
    ];
    const spec = toWeb({ egress: [{ toEntities: ["kube-apiserver"], toPorts: port(443) }] });
    assert.equal(judge(resolve([spec], { services }).policy, "egress", 7, "TCP/6443"), "allowed");
    assert.equal(judge(resolve([spec]).policy, "egress", 7, "TCP/6443"), "denied");
  });

  it("sends DNS to the proxy where rules name outside names, although none asks for it", () => {
    const settings = { learnNames: true };
    const named = { toFQDNs: [{ matchName: "api.stripe.com" }], toPorts: port(443) };
    const toDns = { toEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system" } }] };
    const rule = (...egress: unknown[]) => resolve([toWeb({ egress })], { settings }).policy;
    const ask = (policy: EndpointPolicy, flow: string) => judge(policy, "egress", 1004, flow);
    for (const allowed of [toDns, { ...toDns, toPorts: [{ ports: [{ port: "53", protocol: "ANY" }] }] }]) {
      assert.deepEqual([ask(rule(named, allowed), "UDP/53"), ask(rule(named, allowed), "TCP/53")], ["redirected", "redirected"]);
      assert.equal(ask(rule(allowed), "UDP/53"), "allowed", "without names nothing is learned");
    }
    assert.deepEqual([ask(rule(named, toDns), "UDP/80"), ask(rule(named), "UDP/53")], ["allowed", "denied"]);
    const [learned] = rule(named, toDns)
      .l7("egress")
      .filter((one) => one.port === 53);
    assert.deepEqual(learned?.rules[0]?.dns, [{ matchPattern: "*" }]);
  });

  it("understands the dns entity for clients and for the DNS pods themselves", () => {
    const client = toWeb({ egress: [{ toEntities: ["dns"] }] });
    assert.equal(judge(resolve([client]).policy, "egress", 1004, "UDP/53"), "redirected");
    assert.equal(judge(resolve([client], { settings: { dnsProxy: false } }).policy, "egress", 1004, "UDP/53"), "allowed");
    assert.equal(judge(resolve([client]).policy, "egress", 1002, "UDP/53"), "denied");
    const parsed = [
      parsePolicy({ kind: "CiliumNetworkPolicy", metadata: { name: "client", namespace: "shop" }, spec: client }),
      parsePolicy({ kind: "CiliumClusterwideNetworkPolicy", metadata: { name: "lock" }, spec: { endpointSelector: {}, ingress: [{}] } }),
    ];
    const cache = createSelectorCache();
    cache.update({ add: [web, api, dns] });
    const policy = resolveEndpoint(createRepository().with(...parsed), cache, { identity: dns.id, labels: dns.labels, namedPorts: [] });
    assert.equal(judge(policy, "ingress", 1001, "UDP/53"), "allowed");
    assert.equal(judge(policy, "ingress", 1002, "UDP/53"), "denied");
  });
});

describe("the dns entity beside others", () => {
  it("brings its ports to the DNS pods only", () => {
    const { policy } = resolve([toWeb({ egress: [{ toEntities: ["kube-apiserver", "dns"] }] })]);
    assert.equal(judge(policy, "egress", 7, "TCP/6443"), "allowed");
    assert.equal(judge(policy, "egress", 1004, "UDP/53"), "redirected");
    assert.equal(judge(policy, "egress", 1004, "TCP/80"), "denied");
  });
});

describe("applyIdentityChanges", () => {
  it("gives exactly the rows that came and went", () => {
    const { policy, cache } = resolve([toWeb({ ingress: [{ fromEndpoints: [{ matchLabels: { app: "api" } }], toPorts: port(80) }] })]);
    const newcomer = pod(2000, "shop", "app=api", "version=v2");
    const came = applyIdentityChanges(policy, cache, cache.update({ add: [newcomer] }));
    assert.deepEqual(
      came.added.map(({ identity, port: number }) => [identity, number]),
      [[2000, 80]],
    );
    assert.deepEqual(came.removed, []);
    const went = applyIdentityChanges(policy, cache, cache.update({ remove: [newcomer.id] }));
    assert.deepEqual(
      went.removed.map(({ identity }) => identity),
      [2000],
    );
  });

  it("gives nothing for an identity that no rule selects", () => {
    const { policy, cache } = resolve([toWeb({ ingress: [{ fromEndpoints: [{ matchLabels: { app: "api" } }] }] })]);
    assert.deepEqual(applyIdentityChanges(policy, cache, cache.update({ add: [pod(2001, "other", "app=x")] })), { added: [], removed: [] });
  });
});
