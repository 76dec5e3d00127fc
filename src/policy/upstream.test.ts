import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { labelSet } from "#labels/label-set.ts";
import { NumericIdentity } from "#types/identity.ts";
import { parseProtocol } from "#types/proto.ts";
import { parsePolicy } from "./parse/parse.ts";
import { createRepository } from "./resolve/repository.ts";
import { resolveEndpoint } from "./resolve/resolve.ts";
import { verdict } from "./resolve/verdict.ts";
import { createSelectorCache } from "./selectors/selector-cache.ts";
import { type PolicySettings, settingsWith } from "./settings.ts";

/** Corners that the recorded verdicts do not reach; what is right is what Cilium's sources say. */

const base = ["k8s:io.cilium.k8s.policy.cluster=default"];
const pod = (namespace: string, ...labels: string[]) => [
  ...base,
  `k8s:io.kubernetes.pod.namespace=${namespace}`,
  `k8s:io.cilium.k8s.namespace.labels.env=${namespace}`,
  ...labels,
];
const dnsPorts = [
  { name: "dns", protocol: 17, port: 53 },
  { name: "dns-tcp", protocol: 6, port: 53 },
];

/** Peers by name; the subject of every case is `web` in `shop`. */
const peers = {
  web: { id: 1001, labels: pod("shop", "k8s:app=web"), namedPorts: [] },
  api: { id: 1002, labels: pod("shop", "k8s:app=api"), namedPorts: [] },
  other: { id: 1003, labels: pod("bank", "k8s:app=api"), namedPorts: [] },
  away: {
    id: 140_000,
    labels: ["k8s:io.cilium.k8s.policy.cluster=west", "k8s:io.kubernetes.pod.namespace=shop", "k8s:app=api"],
    namedPorts: [],
  },
  dns: { id: 1004, labels: pod("kube-system", "k8s:k8s-app=kube-dns"), namedPorts: dnsPorts },
  node: { id: 33_554_433, labels: [...base, "node:role=worker", "reserved:remote-node"], namedPorts: [] },
  site: { id: 16_777_217, labels: ["cidr:192.0.2.7/32", "fqdn:**.example.com", "reserved:world"], namedPorts: [] },
  remoteNode: { id: 6, labels: ["reserved:remote-node"], namedPorts: [] },
} as const;
type Peer = keyof typeof peers;

type Ask = { readonly to?: Peer; readonly from?: Peer; readonly port?: string };
type Case = {
  readonly what: string;
  readonly policies: readonly unknown[];
  readonly settings?: Partial<PolicySettings>;
  readonly allowed: readonly Ask[];
  readonly denied?: readonly Ask[];
};

function ask(policies: readonly unknown[], settings: Partial<PolicySettings>, { to, from, port = "TCP/80" }: Ask): string {
  const all = settingsWith(settings);
  const parsed = policies.map((one) => parsePolicy(one, all));
  assert.deepEqual(
    parsed.flatMap(({ issues }) => issues),
    [],
  );
  const cache = createSelectorCache();
  const entries = Object.values(peers).map(({ id, labels, namedPorts }) => ({
    id: NumericIdentity(id),
    labels: labelSet(labels),
    namedPorts,
  }));
  cache.update({ add: entries });
  const subject = { identity: NumericIdentity(peers.web.id), labels: labelSet(peers.web.labels), namedPorts: [] };
  const policy = resolveEndpoint(createRepository(all).with(...parsed), cache, subject);
  const [protocol = "", number] = port.split("/");
  return verdict(policy, {
    direction: to === undefined ? "ingress" : "egress",
    identity: NumericIdentity(peers[to ?? from ?? "web"].id),
    protocol: parseProtocol(protocol) ?? 0,
    port: Number(number),
  }).verdict;
}

const meta = { metadata: { name: "p", namespace: "shop" } };
const cnp = (spec: object) => ({ kind: "CiliumNetworkPolicy", ...meta, spec: { endpointSelector: {}, ...spec } });
const ccnp = (spec: object) => ({
  kind: "CiliumClusterwideNetworkPolicy",
  metadata: { name: "c" },
  spec: { endpointSelector: {}, ...spec },
});
const knp = (spec: object) => ({ kind: "NetworkPolicy", ...meta, spec: { podSelector: {}, ...spec } });
const admin = (spec: object) => ({
  kind: "ClusterNetworkPolicy",
  metadata: { name: "a" },
  spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, ...spec },
});
const denyEgress = cnp({ egress: [{}] });
const nodes = { nodeSelectorLabels: true };

const cases: readonly Case[] = [
  {
    what: "a denial has no names: egressDeny with toFQDNs denies nobody, with ports everybody",
    policies: [
      cnp({ egress: [{ toEntities: ["all"] }], egressDeny: [{ toFQDNs: [{ matchName: "a.b" }], toPorts: [{ ports: [{ port: "80" }] }] }] }),
    ],
    allowed: [{ to: "api", port: "TCP/81" }],
    denied: [{ to: "api" }, { to: "site" }],
  },
  {
    what: "an empty list of peers means nobody, whatever stands beside it",
    policies: [cnp({ egress: [{ toEndpoints: [], toEntities: ["all"] }] })],
    allowed: [],
    denied: [{ to: "api" }, { to: "site" }],
  },
  {
    what: "… but for names, which are read elsewhere",
    policies: [cnp({ egress: [{ toFQDNs: [], toEntities: ["all"] }] })],
    allowed: [{ to: "api" }, { to: "site" }],
  },
  {
    what: "toNodes keeps to the local cluster even when the selector names reserved labels",
    policies: [cnp({ egress: [{ toNodes: [{ matchExpressions: [{ key: "reserved:remote-node", operator: "Exists" }] }] }] })],
    settings: nodes,
    allowed: [{ to: "node" }],
    denied: [{ to: "remoteNode" }],
  },
  {
    what: "cluster-wide, a condition on namespace labels still asks for a namespace",
    policies: [
      ccnp({
        egress: [
          { toEndpoints: [{ matchExpressions: [{ key: "io.cilium.k8s.namespace.labels.env", operator: "NotIn", values: ["bank"] }] }] },
        ],
      }),
    ],
    allowed: [{ to: "api" }],
    denied: [{ to: "other" }, { to: "node" }],
  },
  {
    what: "in a namespace, peers of an init subject have the policy's namespace like all others",
    policies: [
      cnp({
        endpointSelector: { matchExpressions: [{ key: "reserved:init", operator: "DoesNotExist" }] },
        egress: [{ toEndpoints: [{ matchLabels: { app: "api" } }] }],
      }),
    ],
    allowed: [{ to: "api" }],
    denied: [{ to: "other" }],
  },
  {
    what: "a named port with an end is a range from the number that the name has",
    policies: [cnp({ egress: [{ toPorts: [{ ports: [{ port: "dns", protocol: "UDP", endPort: 60 }] }] }] })],
    allowed: [
      { to: "dns", port: "UDP/53" },
      { to: "dns", port: "UDP/60" },
    ],
    denied: [
      { to: "dns", port: "UDP/61" },
      { to: "dns", port: "UDP/52" },
      { to: "dns", port: "TCP/53" },
      { to: "api", port: "UDP/53" },
    ],
  },
  {
    what: "… and one that ends before that number is the one port",
    policies: [cnp({ egress: [{ toPorts: [{ ports: [{ port: "dns", protocol: "UDP", endPort: 50 }] }] }] })],
    allowed: [{ to: "dns", port: "UDP/53" }],
    denied: [
      { to: "dns", port: "UDP/50" },
      { to: "dns", port: "UDP/54" },
    ],
  },
  {
    what: "an exception that is all of its block leaves nothing of it",
    policies: [cnp({ egress: [{ toCIDRSet: [{ cidr: "192.0.0.0/16", except: ["192.0.7.0/16"] }] }] })],
    allowed: [],
    denied: [{ to: "site" }],
  },
  {
    what: "an unknown authentication mode asks for nothing",
    policies: [cnp({ egress: [{ toEndpoints: [{}], authentication: { mode: "always" } }] })],
    allowed: [{ to: "api" }],
  },
  {
    what: "a NetworkPolicy's pods may name another cluster",
    policies: [knp({ egress: [{ to: [{ podSelector: { matchLabels: { "io.cilium.k8s.policy.cluster": "west" } } }] }] })],
    allowed: [{ to: "away" }],
    denied: [{ to: "api" }],
  },
  {
    what: "a NetworkPolicy's namespace overwrites one in matchLabels, and is one more condition in matchExpressions",
    policies: [knp({ egress: [{ to: [{ podSelector: { matchLabels: { "io.kubernetes.pod.namespace": "bank", app: "api" } } }] }] })],
    allowed: [{ to: "api" }],
    denied: [{ to: "other" }],
  },
  {
    what: "an empty peer of a NetworkPolicy is the own namespace in from, …",
    policies: [knp({ ingress: [{ from: [{}] }] })],
    allowed: [{ from: "api" }],
    denied: [{ from: "other" }],
  },
  { what: "… and in to", policies: [knp({ egress: [{ to: [{}] }] })], allowed: [{ to: "api" }], denied: [{ to: "other" }] },
  {
    what: "a NetworkPolicy's block goes before selectors in one peer",
    policies: [knp({ egress: [{ to: [{ ipBlock: { cidr: "192.0.2.0/24" }, podSelector: {} }] }] })],
    allowed: [{ to: "site" }],
    denied: [{ to: "api" }],
  },
  {
    what: "a NetworkPolicy's port that is no number is every port, …",
    policies: [knp({ egress: [{ ports: [{ port: "08" }] }] })],
    allowed: [{ to: "api", port: "TCP/443" }],
    denied: [{ to: "api", port: "UDP/443" }],
  },
  {
    what: "… and one that is too large the largest",
    policies: [knp({ egress: [{ ports: [{ port: 65536 }] }] })],
    allowed: [{ to: "api", port: "TCP/65535" }],
    denied: [{ to: "api" }],
  },
  {
    what: "a block of IPv4-mapped addresses is one of IPv6",
    policies: [cnp({ egress: [{ toCIDR: ["::ffff:192.0.2.0/120"] }] })],
    allowed: [],
    denied: [{ to: "site" }],
  },
  {
    what: "a ClusterNetworkPolicy's rule of peers that nobody knows enforces nothing",
    policies: [admin({ egress: [{ action: "Accept", to: [{}] }] })],
    allowed: [{ to: "api" }],
  },
  {
    what: "a NetworkPolicy's empty protocol is any",
    policies: [knp({ egress: [{ ports: [{ port: "80", protocol: "" }] }] })],
    allowed: [{ to: "api" }, { to: "api", port: "UDP/80" }, { to: "api", port: "SCTP/80" }],
    denied: [{ to: "api", port: "TCP/81" }],
  },
  {
    what: "a ClusterNetworkPolicy rule without peers is about everybody",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [], protocols: [{ tcp: { destinationPort: { number: 80 } } }] }] })],
    allowed: [{ to: "site" }, { to: "other" }],
    denied: [{ to: "site", port: "TCP/81" }],
  },
  {
    what: "a ClusterNetworkPolicy's pods may name another cluster",
    policies: [
      denyEgress,
      admin({
        egress: [{ action: "Accept", to: [{ pods: { podSelector: { matchLabels: { "io.cilium.k8s.policy.cluster": "west" } } } }] }],
      }),
    ],
    allowed: [{ to: "away" }],
    denied: [{ to: "api" }],
  },
  {
    what: "a ClusterNetworkPolicy's nodes are remote ones of the local cluster",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [{ nodes: { matchLabels: { role: "worker" } } }] }] })],
    settings: nodes,
    allowed: [{ to: "node" }],
    denied: [{ to: "remoteNode" }, { to: "api" }],
  },
  {
    what: "a ClusterNetworkPolicy's names may be looked up at the DNS pods' named ports",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [{ domainNames: ["*.example.com"] }] }] })],
    allowed: [{ to: "site" }],
    denied: [{ to: "dns" }, { to: "api" }],
  },
  {
    what: "a ClusterNetworkPolicy's networks may be bare addresses",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [{ networks: ["192.0.2.7"] }] }] })],
    allowed: [{ to: "site" }],
    denied: [{ to: "api" }],
  },
  {
    what: "a ClusterNetworkPolicy's peer of a kind that nobody knows accepts nobody",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [{}, { pods: { podSelector: { matchLabels: { app: "api" } } } }] }] })],
    allowed: [{ to: "api" }],
    denied: [{ to: "site" }],
  },
  ...["Deny", "Pass"].map((action) => ({
    what: `… and with ${action} keeps everybody out, on its ports`,
    policies: [admin({ egress: [{ action, to: [{ moon: {} }], protocols: [{ tcp: { destinationPort: { number: 80 } } }] }] })],
    allowed: [{ to: "api", port: "TCP/81" }] as const,
    denied: [{ to: "api" }, { to: "site" }] as const,
  })),
  {
    what: "a ClusterNetworkPolicy's protocol without a port is all of its ports",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [], protocols: [{ udp: {} }] }] })],
    allowed: [{ to: "api", port: "UDP/9" }],
    denied: [{ to: "api" }],
  },
  {
    what: "a ClusterNetworkPolicy's range that does not rise is its first port",
    policies: [
      denyEgress,
      admin({ egress: [{ action: "Accept", to: [], protocols: [{ tcp: { destinationPort: { range: { start: 80, end: 79 } } } }] }] }),
    ],
    allowed: [{ to: "api" }],
    denied: [{ to: "api", port: "TCP/79" }],
  },
  {
    what: "a ClusterNetworkPolicy's port name may be a number, of every protocol",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [], protocols: [{ destinationNamedPort: "80" }] }] })],
    allowed: [{ to: "api" }, { to: "api", port: "UDP/80" }],
    denied: [{ to: "api", port: "TCP/81" }],
  },
  {
    what: "a ClusterNetworkPolicy's port name is taken as it is written",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [], protocols: [{ destinationNamedPort: "DNS" }] }] })],
    allowed: [],
    denied: [{ to: "dns", port: "UDP/53" }],
  },
  {
    what: "a ClusterNetworkPolicy's port name counts before a protocol without a port",
    policies: [denyEgress, admin({ egress: [{ action: "Accept", to: [], protocols: [{ tcp: {}, destinationNamedPort: "dns" }] }] })],
    allowed: [{ to: "dns", port: "UDP/53" }],
    denied: [{ to: "api" }],
  },
];

describe("what Cilium's sources say and no recorded verdict does", () => {
  for (const { what, policies, settings = {}, allowed, denied = [] } of cases) {
    it(what, () => {
      for (const one of allowed) assert.equal(ask(policies, settings, one), "allowed", JSON.stringify(one));
      for (const one of denied) assert.equal(ask(policies, settings, one), "denied", JSON.stringify(one));
    });
  }
  it("redirects the look-ups of a ClusterNetworkPolicy's names", () => {
    const policy = admin({ egress: [{ action: "Accept", to: [{ domainNames: ["example.com"] }] }] });
    for (const port of ["UDP/53", "TCP/53"]) assert.equal(ask([denyEgress, policy], {}, { to: "dns", port }), "redirected");
  });

  const port = (fields: object, rules: object = {}) => cnp({ egress: [{ toPorts: [{ ports: [fields], ...rules }] }] });
  const tcp = { port: "443", protocol: "TCP" };
  const icmp = (type: unknown) => cnp({ egress: [{ icmps: [{ fields: [{ type }] }] }] });
  const refused: readonly (readonly [string, unknown, Partial<PolicySettings>?])[] = [
    ["a listener beside application rules", port(tcp, { listener: { envoyConfig: { name: "c" }, name: "l" }, rules: { http: [{}] } })],
    ["DNS rules on port 0", port({ port: "0", protocol: "UDP" }, { rules: { dns: [{ matchPattern: "*" }] } })],
    ["00 as port of a protocol without ports", port({ port: "00", protocol: "GRE" })],
    ["icmps where they are off, even without types", cnp({ egress: [{ icmps: [{}] }] }), { icmpRules: false }],
    ["00 as ICMP type", icmp("00")],
    ["an ICMP type of more than 32 bits", icmp(3e9)],
    ["an exception whose address is elsewhere", cnp({ egress: [{ toCIDRSet: [{ cidr: "10.1.0.0/16", except: ["10.0.0.0/8"] }] }] })],
    ["an exception that is wider than its block", cnp({ egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/24", except: ["10.0.0.0/8"] }] }] })],
    ["a subject that is a node and a pod, be one of them null", cnp({ egress: [{}], nodeSelector: null })],
    ["a description that is no text", cnp({ egress: [{}], description: 1 })],
    ["a provider's group that does not fit", cnp({ egress: [{ toGroups: [{ aws: { securityGroupsIds: [1] } }] }] })],
    ["a service's selector that does not fit", cnp({ egress: [{ toServices: [{ k8sServiceSelector: { selector: [] } }] }] })],
    [
      "an IPv4-mapped exception from a block of IPv4",
      cnp({ egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["::ffff:10.0.0.0/104"] }] }] }),
    ],
    ["a label that is null", cnp({ egress: [{}], labels: [null] })],
    ["a label whose value is a number", cnp({ egress: [{}], labels: [{ key: "a", value: 1 }] })],
    ["names that are denied", admin({ egress: [{ action: "Deny", to: [{ domainNames: ["a.b"] }] }] })],
    ["nodes of a ClusterNetworkPolicy without the setting", admin({ egress: [{ action: "Deny", to: [{ nodes: {} }] }] })],
  ];
  for (const [what, policy, settings] of refused)
    it(`refuses ${what}`, () => assert.notDeepEqual(parsePolicy(policy, settingsWith(settings ?? {})).issues, []));

  it("has no way to merge server names with a listener", () => {
    const on443 = (more: object) => ({ toPorts: [{ ports: [tcp], ...more }] });
    const both = cnp({
      egress: [on443({ serverNames: ["a.example.com"] }), on443({ listener: { envoyConfig: { name: "c" }, name: "l" } })],
    });
    assert.equal(ask([both], {}, { to: "api", port: "TCP/443" }), "error");
  });

  const accepted: readonly (readonly [string, unknown, Partial<PolicySettings>?])[] = [
    ["http and dns rules when both are empty", port(tcp, { rules: { http: [], dns: [] } })],
    [
      "an application rule without a port where that is allowed",
      port({ protocol: "TCP" }, { rules: { http: [{}] } }),
      { extendedIpProtocols: true },
    ],
    [
      "an exception as wide as its block by its address",
      cnp({ egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/24", except: ["10.0.0.9/24"] }] }] }),
    ],
    ["a block of IPv4-mapped addresses, of any length", cnp({ egress: [{ toCIDR: ["::ffff:a00:0/104", "::ffff:10.0.0.0/8"] }] })],
    ["groups of blocks by null", cnp({ egress: [{ toCIDRSet: [{ cidrGroupSelector: null }] }] })],
    ["two groups of one name in a pattern", port(tcp, { rules: { http: [{ path: "(?P<n>a)(?P<n>b)" }] } })],
    ["a NetworkPolicy's exception that is elsewhere", knp({ egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["::/8"] } }] }] })],
    ["an ICMP type with a sign", icmp("+8")],
    ["a label without a key that is text", cnp({ egress: [{}], labels: ["=b"] })],
    ["whatever authentication a denial names", cnp({ egressDeny: [{ authentication: { mode: 5 } }] })],
    ["ipBlock beside podSelector", knp({ egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8" }, podSelector: {} }] }] })],
  ];
  for (const [what, policy, settings] of accepted)
    it(`accepts ${what}`, () => assert.deepEqual(parsePolicy(policy, settingsWith(settings ?? {})).issues, []));
});
