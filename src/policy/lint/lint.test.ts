import assert from "node:assert/strict";
import { describe, it } from "node:test";
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

const onNodes = { nodeSelector: {}, ingress: [{ fromEntities: ["all"] }] };
const settings = (data: object) => ({ kind: "ConfigMap", metadata: { name: "cilium-config" }, data });

type Sample = { readonly policies: readonly object[]; readonly more?: readonly object[]; readonly flows?: readonly unknown[] };
const one = (spec: object, name = "p", kind?: string): Sample => ({ policies: [policyOf(spec, name, kind)] });

/** For each id something that it finds, and what it must say; and something near that is right. */
const samples: Readonly<Record<LintId, { readonly bad: Sample; readonly says: RegExp; readonly good: Sample }>> = {
  L00: { bad: one(select("api", { egress: [{ toCIDR: ["10.0.0/8"] }] })), says: /is not an address block/, good: one(good) },
  L01: { bad: one(select("api", { ingress: [] })), says: /an empty list .*default deny/, good: one(select("api", { ingress: [{}] })) },
  L02: {
    bad: one(select("api", { egress: [{ toFQDNs: [{ matchName: "a.com" }] }] })),
    says: /no name will ever be known/,
    good: one(select("api", { egress: [dns, { toFQDNs: [{ matchName: "a.com" }] }] })),
  },
  L03: { bad: one(select("api", ingress(from("web"), "80"))), says: /port of service shop\/api.*listen on 8080/, good: one(good) },
  L04: {
    bad: one(select("api", { egress: [dns, { toCIDR: ["10.244.0.0/25"] }] })),
    says: /is in the pod CIDR of node n1: blocks never match pods/,
    good: one(select("api", { egress: [dns, { toCIDR: ["203.0.113.0/24"] }] })),
  },
  L05: { bad: one(select("batch-runner", ingress(from("web")))), says: /selects no pod/, good: one(good) },
  L06: {
    bad: one(select("api", ingress(from("prometheus")))),
    says: /pods in monitoring have these labels/,
    good: one(select("api", ingress([{ matchLabels: { app: "prometheus", "k8s:io.kubernetes.pod.namespace": "monitoring" } }]))),
  },
  L07: {
    bad: one(
      select("api", {
        ingress: [{ fromEndpoints: from("web"), toPorts: [{ ports: [{ port: "8080" }], rules: { http: [{ method: "GET" }] } }] }],
      }),
    ),
    says: /needs protocol: TCP/,
    good: one(select("api", ingress(from("web"), "8080", { http: [{ method: "GET" }] }))),
  },
  L08: {
    bad: { policies: [policyOf(select("api", ingress(from("web"), "8080", { http: [{ method: "GET" }] })), "l7"), policyOf(good, "wide")] },
    says: /application rules are moot: shop\/wide/,
    good: one(select("api", ingress(from("web"), "8080", { http: [{ method: "GET" }] }))),
  },
  L09: {
    bad: one(select("api", { ...ingress(from("web"), "8080"), ingressDeny: [{ fromEndpoints: [{}] }] })),
    says: /never has an effect: shop\/p \(ingressDeny\) rule 0/,
    good: one(select("api", { ...ingress(from("web"), "8080"), ingressDeny: [{ fromEndpoints: [{}], toPorts: on("22") }] })),
  },
  L10: {
    bad: { policies: [policyOf(good, "a"), policyOf(good, "b")] },
    says: /says the same as CiliumNetworkPolicy\/shop\/a/,
    good: one(good),
  },
  L11: {
    bad: one(select("api", { egress: [dns, { toFQDNs: [{ matchPattern: "*example.com" }] }] })),
    says: /takes another's "badexample.com", and not "www.example.com"/,
    good: one(select("api", { egress: [dns, { toFQDNs: [{ matchPattern: "*.example.com" }] }] })),
  },
  L12: {
    bad: one({ endpointSelector: {}, ingress: [{ fromEntities: ["all"] }] }, "default-deny"),
    says: /named like a deny/,
    good: one({ endpointSelector: {}, ingress: [{}] }, "default-deny"),
  },
  L13: {
    bad: one(select("api", { egress: [{ toEndpoints: from("web") }] })),
    says: /cuts shop\/api off from DNS/,
    good: one(select("api", { egress: [dns, { toEndpoints: from("web") }] })),
  },
  L14: {
    bad: one({ endpointSelector: {}, ingress: [{ fromEndpoints: from("prometheus") }] }, "p", "CiliumClusterwideNetworkPolicy"),
    says: /cuts off clients such as/,
    good: one({ endpointSelector: {}, ingress: [{ fromEntities: ["cluster"] }] }, "p", "CiliumClusterwideNetworkPolicy"),
  },
  L15: {
    bad: one(select("api", { egress: [dns, { toEntities: ["kube-apiserver"], toPorts: on("443") }] })),
    says: /kube-apiserver on 443/,
    good: one(select("api", { egress: [dns, { toEntities: ["kube-apiserver"], toPorts: on("6443") }] })),
  },
  L16: { bad: one(select("api", ingress(from("wbe")))), says: /no pod has app=wbe; did you mean "web"/, good: one(good) },
  L17: {
    bad: one(select("api", ingress(from("web"), "8080", { http: [{ method: "get", path: "/api/*" }] }))),
    says: /the star repeats the character before it/,
    good: one(select("api", ingress(from("web"), "8080", { http: [{ method: "GET", path: "/api/.*" }] }))),
  },
  L18: {
    bad: {
      ...one(select("api", ingress(from("web"), "8080"))),
      more: [settings({ "bpf-policy-map-max": "1" })],
    },
    says: /need \d+ policy map entries, but there is room for 1/,
    good: one(good),
  },
  L19: {
    bad: { policies: [policyOf(good, "in"), policyOf(select("web", { egress: [dns] }), "out")] },
    says: /lets shop\/web in to shop\/api, but the egress of shop\/web is under default deny \(out\)/,
    good: { policies: [policyOf(good, "in"), policyOf(select("web", { egress: [dns, { toEndpoints: from("api") }] }), "out")] },
  },
  L20: {
    bad: one({ nodeSelector: {}, ingress: [{ fromEntities: ["cluster"] }] }, "hosts", "CiliumClusterwideNetworkPolicy"),
    says: /locks SSH out of node n1 once the host firewall is on: nothing allows 22\/TCP/,
    good: one(
      { nodeSelector: {}, ingress: [{ fromEntities: ["cluster"] }, { fromCIDR: ["0.0.0.0/0"], toPorts: on("22") }] },
      "hosts",
      "CiliumClusterwideNetworkPolicy",
    ),
  },
  L21: { bad: one(select("api", { egress: [{ toEntities: ["dns"] }] })), says: /Cilia's own/, good: one(select("api", { egress: [dns] })) },
  L22: {
    bad: one(select("tls", ingress(from("web"), "9000", { http: [{ method: "GET" }] }))),
    says: /which carries TLS \(the pods call it https\)/,
    good: one(select("api", ingress(from("web"), "8080", { http: [{ method: "GET" }] }))),
  },
  L23: {
    bad: { ...one(good), more: ["api", "api", "apii"].map((app, i) => replica(i, app)) },
    says: /applies to some pods of shop\/many only: 1 of 3 differ in app=apii instead of app=api/,
    good: { ...one(good), more: ["api", "api", "api"].map((app, i) => replica(i, app)) },
  },
  L24: {
    bad: one(select("api", { ingress: [{ fromEndpoints: [] }] })),
    says: /an empty list selects nobody/,
    good: one(select("api", { ingress: [{ fromEndpoints: [{}] }] })),
  },
  L25: {
    bad: one(select("api", { ingress: [{ icmps: [{ fields: [{ type: "300" }] }] }] })),
    says: /300 is not an ICMP type/,
    good: one(select("api", { ingress: [{ icmps: [{ fields: [{ type: 8 }] }] }] })),
  },
  L26: {
    bad: one(select("api", { egress: [{ toGroups: [{ aws: {} }] }] })),
    says: /select nobody: groups of cloud providers/,
    good: one(select("api", { egress: [dns] })),
  },
  L27: {
    bad: one(select("api", { ingressDeny: [{ fromEndpoints: from("web"), toPorts: on("8080", { http: [{ method: "GET" }] }) }] })),
    says: /is ignored in a deny list, as in Cilium: everything on these ports is denied/,
    good: one(select("api", { ingressDeny: [{ fromEndpoints: from("web"), toPorts: on("22") }] })),
  },
  L28: {
    bad: one({
      endpointSelector: { matchLabels: { app: "api", "io.kubernetes.pod.namespace": "monitoring" } },
      ...ingress(from("web"), "8080"),
    }),
    says: /selects pods of its own namespace only, so this selects nobody/,
    good: one({
      endpointSelector: { matchLabels: { app: "api", "io.kubernetes.pod.namespace": "shop" } },
      ...ingress(from("web"), "8080"),
    }),
  },
  L29: {
    bad: one(select("api", { egress: [dns, { toCIDRSet: [{ cidr: "203.0.113.0/24", except: ["203.0.113.0/25", "203.0.113.128/25"] }] }] })),
    says: /nothing is left of 203\.0\.113\.0\/24/,
    good: one(select("api", { egress: [dns, { toCIDRSet: [{ cidr: "203.0.113.0/24", except: ["203.0.113.0/25"] }] }] })),
  },
  L30: {
    bad: one(select("api", ingress(from("web"), "htp"))),
    says: /none of the pods has a port that is called "htp", so this matches nothing; did you mean "http"/,
    good: one(select("api", ingress(from("web"), "http"))),
  },
  L31: {
    bad: one(select("api", { ingress: [{ fromEndpoints: from("web") }, { toPorts: on("8080") }] })),
    says: /ingress\[0\] allows its peers every port, and ingress\[1\] allows everybody its ports/,
    good: one(good),
  },
  L32: {
    bad: one(select("api", { ingressDeny: [{ fromEndpoints: from("prometheus") }] })),
    says: /denies everything else too.*no rule allows shop\/api any ingress/,
    good: one(select("api", { ingress: [{ fromEntities: ["all"] }], ingressDeny: [{ fromEndpoints: from("prometheus") }] })),
  },
  L33: {
    bad: { ...one(onNodes, "hosts", "CiliumClusterwideNetworkPolicy"), more: [settings({ "enable-host-firewall": "false" })] },
    says: /the host firewall is off/,
    good: { ...one(onNodes, "hosts", "CiliumClusterwideNetworkPolicy"), more: [settings({ "enable-host-firewall": "true" })] },
  },
};

function replica(number: number, app: string): object {
  const owner = { kind: "ReplicaSet", name: "many-abc", controller: true };
  return {
    kind: "Pod",
    metadata: { name: `many-abc-${number}`, namespace: "shop", labels: { app, "pod-template-hash": "abc" }, ownerReferences: [owner] },
    spec: {},
  };
}

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
      const { bad, says, good: right } = samples[id];
      const found = lint(bad).filter((finding) => finding.id === id);
      assert.match(found.map(({ message }) => message).join("\n"), says);
      for (const { fix } of found) assert.ok(fix.length > 0);
      assert.deepEqual(
        lint(right).filter((finding) => finding.id === id),
        [],
      );
    });
  }

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
