import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { objectsIn } from "../world/documents.ts";
import { memorySource } from "../world/objects.ts";
import { createWorld } from "../world/world.ts";
import { catalogue, type LintId } from "./finding.ts";
import { lintWorld } from "./lint.ts";

const workload = (name: string, namespace: string, labels: object, port?: { name: string; containerPort: number }) => ({
  kind: "Deployment",
  metadata: { name, namespace },
  spec: { template: { metadata: { labels }, spec: { containers: [{ ports: port === undefined ? [] : [port] }] } } },
});
const service = (name: string, port: object) => ({
  kind: "Service",
  metadata: { name, namespace: "shop" },
  spec: { clusterIP: "10.96.0.7", selector: { app: name }, ports: [port] },
});
const node = {
  kind: "Node",
  metadata: { name: "n1" },
  spec: { podCIDR: "10.244.0.0/24" },
  status: { addresses: [{ address: "192.168.0.1" }] },
};
const cluster: readonly object[] = [
  workload("web", "shop", { app: "web" }),
  workload("api", "shop", { app: "api" }, { name: "http", containerPort: 8080 }),
  workload("tls", "shop", { app: "tls" }, { name: "https", containerPort: 9000 }),
  workload("prometheus", "monitoring", { app: "prometheus" }),
  workload("coredns", "kube-system", { "k8s-app": "kube-dns" }),
  service("api", { port: 80, targetPort: 8080 }),
  node,
];

const policyOf = (spec: object, name: string, kind = "CiliumNetworkPolicy") => ({
  apiVersion: "cilium.io/v2",
  kind,
  metadata: { name, ...(kind === "CiliumNetworkPolicy" ? { namespace: "shop" } : {}) },
  spec,
});
const select = (app: string, rest: object) => ({ endpointSelector: { matchLabels: { app } }, ...rest });
const from = (app: string) => [{ matchLabels: { app } }];
const on = (port: string, rules?: object) => [{ ports: [{ port, protocol: "TCP" }], ...(rules === undefined ? {} : { rules }) }];
const ingress = (peers: object[], port?: string, rules?: object) => ({
  ingress: [{ fromEndpoints: peers, ...(port === undefined ? {} : { toPorts: on(port, rules) }) }],
});
const dns = {
  toEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns" } }],
  toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: [{ matchPattern: "*" }] } }],
};
const good = select("api", ingress(from("web"), "8080"));

type Sample = { readonly policies: readonly object[]; readonly more?: readonly object[]; readonly flows?: readonly unknown[] };
const one = (spec: object, name = "p", kind?: string): Sample => ({ policies: [policyOf(spec, name, kind)] });

/** What is said of `examples/lint/ID-wrong.yaml`; nothing of that kind is said of `ID-right.yaml`, which is near. */
const says: Readonly<Record<LintId, RegExp>> = {
  L00: /is not an address block/,
  L01: /an empty list .*default deny/,
  L02: /no name will ever be known/,
  L03: /port of service shop\/api.*listen on 8080/,
  L04: /is in the pod CIDR of node n1: blocks never match pods/,
  L05: /selects no pod/,
  L06: /pods in monitoring have these labels/,
  L07: /needs protocol: TCP/,
  L08: /application rules are moot: shop\/wide/,
  L09: /never has an effect: shop\/p \(ingressDeny\) rule 0/,
  L10: /says the same as CiliumNetworkPolicy\/shop\/a/,
  L11: /takes another's "badexample.com", and not "www.example.com"/,
  L12: /named like a deny/,
  L13: /cuts shop\/api off from DNS/,
  L14: /cuts off clients such as/,
  L15: /kube-apiserver on 443/,
  L16: /no pod has app=wbe; did you mean "web"/,
  L17: /the star repeats the character before it/,
  L18: /need \d+ policy map entries, but there is room for 1/,
  L19: /lets shop\/web in to shop\/api, but the egress of shop\/web is under default deny \(out\)/,
  L20: /locks SSH out of node n1 once the host firewall is on: nothing allows 22\/TCP/,
  L21: /Cilia's own/,
  L22: /which carries TLS \(the pods call it https\)/,
  L23: /applies to some pods of shop\/many only: 1 of 3 differ in app=apii instead of app=api/,
  L24: /an empty list selects nobody/,
  L25: /300 is not an ICMP type/,
  L26: /select nobody: groups of cloud providers/,
  L27: /is ignored in a deny list, as in Cilium: everything on these ports is denied/,
  L28: /selects pods of its own namespace only, so this selects nobody/,
  L29: /nothing is left of 203\.0\.113\.0\/24/,
  L30: /none of the pods has a port that is called "htp", so this matches nothing; did you mean "http"/,
  L31: /ingress\[0\] allows its peers every port, and ingress\[1\] allows everybody its ports/,
  L32: /denies everything else too.*no rule allows shop\/api any ingress/,
  L33: /the host firewall is off/,
};

const folder = new URL("../../../examples/lint/", import.meta.url);
const objectsOf = (file: string) => objectsIn(file, readFileSync(new URL(file, folder), "utf8"));

function lint({ policies, more = [], flows = [] }: Sample) {
  const objects = [...cluster, ...more, ...policies];
  return lintWorld(createWorld(objects.map((object) => ({ object, source: memorySource("test") }))), flows);
}

describe("lintWorld", () => {
  it("finds nothing in a sound policy", () => {
    assert.deepEqual(lint(one(good)), []);
  });

  for (const id of Object.keys(catalogue) as LintId[]) {
    it(`${id}: ${catalogue[id]}`, () => {
      const [wrong, right] = ["wrong", "right"].map((kind) =>
        lintWorld(createWorld([...objectsOf("cluster.yaml"), ...objectsOf(`${id}-${kind}.yaml`)])).filter((one) => one.id === id),
      );
      assert.match(wrong?.map(({ message }) => message).join("\n") ?? "", says[id]);
      for (const { fix } of wrong ?? []) assert.ok(fix.length > 0);
      assert.deepEqual(right, []);
    });
  }

  it("finds in files alone, without any pods, what cuts them off from DNS", () => {
    const cut = (...policies: object[]) => {
      const findings = lintWorld(createWorld(policies.map((object) => ({ object, source: memorySource("test") }))));
      return findings.filter(({ id }) => id === "L13").map(({ policy }) => policy.name);
    };
    const wall = policyOf({ endpointSelector: {}, egress: [{}] }, "wall");
    const out = policyOf(select("api", { egress: [{ toEndpoints: from("web") }] }), "out");
    assert.deepEqual(cut(wall, out), ["out", "wall"]);
    for (const opening of [
      policyOf({ endpointSelector: {}, egress: [dns] }, "names"),
      policyOf({ endpointSelector: {}, egress: [{ toEntities: ["dns"] }] }, "names", "CiliumClusterwideNetworkPolicy"),
      policyOf({ endpointSelector: {}, egress: [{ toEntities: ["cluster"] }] }, "cluster"),
      policyOf({ endpointSelector: {}, egress: [{ toCIDR: ["10.96.0.10/32"], toPorts: [{ ports: [{ port: "53" }] }] }] }, "address"),
    ])
      assert.deepEqual(cut(wall, out, opening), [], opening.metadata.name);
    assert.deepEqual(cut(wall, policyOf(select("web", { egress: [dns] }), "web")), ["wall"], "the rule is for other pods");
    const open = { endpointSelector: {}, enableDefaultDeny: { egress: false }, egress: [{ toEndpoints: from("web") }] };
    assert.deepEqual(cut(policyOf(open, "open"), policyOf(good, "in")), []);
    const server = {
      ...policyOf({ endpointSelector: { matchLabels: { "k8s-app": "kube-dns" } }, egress: [{ toEntities: ["world"] }] }, "dns"),
    };
    assert.deepEqual(cut({ ...server, metadata: { name: "dns", namespace: "kube-system" } }), []);
    const kubernetes = (egress: object[]) => ({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "k", namespace: "shop" },
      spec: { podSelector: {}, policyTypes: ["Egress"], egress },
    });
    assert.deepEqual(cut(kubernetes([])), ["k"]);
    assert.deepEqual(cut(kubernetes([{ ports: [{ protocol: "UDP", port: 53 }] }])), []);
    const selected = { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } } };
    assert.deepEqual(cut(kubernetes([{ to: [selected] }])), []);
  });

  it("escapes the dots of a host that stand for themselves only", () => {
    const fixOf = (host: string) =>
      lint(one(select("api", ingress(from("web"), "8080", { http: [{ host }] }))))
        .filter(({ id }) => id === "L17")
        .map(({ fix }) => fix);
    assert.deepEqual(fixOf(".*b.com"), ['write ".*b\\.com"']);
    assert.deepEqual(fixOf("[a.]+x\\.b.com"), ['write "[a.]+x\\.b\\.com"']);
    assert.deepEqual(fixOf(".*b\\.com"), []);
  });

  it("finds what is no policy as its kind is misspelt, and not what is none", () => {
    const misspelt = lint({ policies: [policyOf(good, "fine"), { ...policyOf(good, "p"), kind: "CiliumNetworkPolcy" }] });
    assert.deepEqual(
      misspelt.map(({ id, severity, path }) => [id, severity, path]),
      [["L00", "error", "kind"]],
    );
    assert.match(misspelt[0]?.message ?? "", /did you mean "CiliumNetworkPolicy"/);
    const others = ["CiliumLocalRedirectPolicy", "CiliumCIDRGroup"].map((kind) => policyOf({}, "x", kind));
    assert.deepEqual(lint({ policies: [policyOf(good, "fine")], more: others }), []);
  });

  it("learns from flows which names a pattern misses and what is encrypted", () => {
    const source = { namespace: "shop", pod_name: "api" };
    const asked = { flow: { source, l7: { dns: { query: "s3.eu-west-1.amazonaws.com." } } } };
    const pattern = one(select("api", { egress: [dns, { toFQDNs: [{ matchPattern: "*.amazonaws.com" }] }] }));
    assert.match(JSON.stringify(lint({ ...pattern, flows: [asked] })), /asked for s3\.eu-west-1\.amazonaws\.com/);
    const secret = { flow: { destination: source, l4: { TCP: { destination_port: 8080 } }, l7: { http: { url: "https://api/" } } } };
    const http = one(select("api", ingress(from("web"), "8080", { http: [{ method: "GET" }] })));
    assert.match(JSON.stringify(lint({ ...http, flows: [secret, null, 3, { flow: "x" }] })), /L22.*carried TLS/);
  });
});
