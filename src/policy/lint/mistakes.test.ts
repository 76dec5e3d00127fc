import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { objectsIn } from "../world/documents.ts";
import { clusterSource, memorySource, type SourcedObject } from "../world/objects.ts";
import { createWorld } from "../world/world.ts";
import { lintWorld } from "./lint.ts";

/** Policies as people really write them wrong, and what they must hear. All are legal, but for those that say otherwise. */

const workload = (name: string, namespace: string, labels: object, ...ports: object[]) => ({
  kind: "Deployment",
  metadata: { name, namespace },
  spec: { template: { metadata: { labels }, spec: { containers: [{ ports }] } } },
});
const namespace = (name: string, labels: object = {}) => ({
  kind: "Namespace",
  metadata: { name, labels: { "kubernetes.io/metadata.name": name, ...labels } },
});
const node = (name: string) => ({ kind: "Node", metadata: { name, labels: { "kubernetes.io/hostname": name, role: "worker" } } });
const cluster: readonly object[] = [
  namespace("shop", { team: "retail" }),
  namespace("monitoring"),
  namespace("kube-system"),
  workload("web", "shop", { app: "web" }, { name: "http", containerPort: 8080 }),
  workload("api", "shop", { app: "api" }, { name: "http", containerPort: 8080 }, { name: "metrics", containerPort: 9090 }),
  {
    kind: "Pod",
    metadata: { name: "db-0", namespace: "shop", labels: { app: "db", "statefulset.kubernetes.io/pod-name": "db-0" } },
    spec: {},
  },
  workload("prometheus", "monitoring", { app: "prometheus" }),
  workload("coredns", "kube-system", { "k8s-app": "kube-dns" }, { name: "dns", containerPort: 53, protocol: "UDP" }),
  {
    kind: "Service",
    metadata: { name: "api", namespace: "shop" },
    spec: { selector: { app: "api" }, ports: [{ port: 80, targetPort: 8080 }] },
  },
  { kind: "Service", metadata: { name: "db", namespace: "shop" }, spec: { selector: { app: "db" }, ports: [{ port: 5432 }] } },
  node("n1"),
  node("n2"),
  { kind: "CiliumCIDRGroup", metadata: { name: "offices" }, spec: { externalCIDRs: ["203.0.113.0/24"] } },
];

const policy = (spec: object, kind = "CiliumNetworkPolicy") => ({
  kind,
  metadata: { name: "p", ...(/Cluster/.test(kind) ? {} : { namespace: "shop" }) },
  spec,
});
const cnp = (spec: object) => policy({ endpointSelector: { matchLabels: { app: "api" } }, ...spec });
const ingress = (...entries: object[]) => cnp({ ingress: entries });
const from = (labels: object) => ingress({ fromEndpoints: [{ matchLabels: labels }] });
const web = { fromEndpoints: [{ matchLabels: { app: "web" } }] };
const dns = {
  toEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns" } }],
  toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: [{ matchPattern: "*" }] } }],
};
const egress = (...entries: object[]) => cnp({ egress: [dns, ...entries] });
const on = (port: string, more: object = {}, protocol = "TCP") => ({ toPorts: [{ ports: [{ port, protocol }], ...more }] });
const http = (...rules: object[]) => ingress({ ...web, ...on("8080", { rules: { http: rules } }) });
const fqdn = (selector: object) => egress({ toFQDNs: [selector] });
const knp = (spec: object) => policy({ podSelector: { matchLabels: { app: "api" } }, ...spec }, "NetworkPolicy");
const nodes = (nodeSelector: object) => policy({ nodeSelector, ingress: [{ fromEntities: ["all"] }] }, "CiliumClusterwideNetworkPolicy");
const narrowDns = { ...dns, toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: [{ matchPattern: "*.example.com" }] } }] };

const mistakes: readonly (readonly [what: string, policy: object, says: RegExp])[] = [
  // Who is meant.
  ["a namespace that does not exist", from({ "k8s:io.kubernetes.pod.namespace": "prod" }), /L05 .*nobody: there is no namespace "prod"/],
  ["a misspelt namespace", from({ "k8s:io.kubernetes.pod.namespace": "monitorng" }), /L16 .*"monitorng"; did you mean "monitoring"/],
  [
    "one of two namespaces that does not exist",
    ingress({
      fromEndpoints: [{ matchExpressions: [{ key: "k8s:io.kubernetes.pod.namespace", operator: "In", values: ["monitoring", "prod"] }] }],
    }),
    /L05 .*: there is no namespace "prod"/,
  ],
  [
    "labels that no namespace has",
    from({ "k8s:io.cilium.k8s.namespace.labels.team": "retial" }),
    /no namespace has team=retial; did you mean "retail"/,
  ],
  [
    "a namespace by a label of another name, as in many examples",
    knp({
      ingress: [
        { from: [{ namespaceSelector: { matchLabels: { name: "monitoring" } }, podSelector: { matchLabels: { app: "prometheus" } } }] },
      ],
    }),
    /L16 .*no namespace has name=monitoring.*fix: write kubernetes\.io\/metadata\.name: monitoring/,
  ],
  [
    "a namespace by a pod's label",
    from({ namespace: "monitoring" }),
    /which namespace a pod is in, another one says.*fix: write "k8s:io\.kubernetes\.pod\.namespace: monitoring"/,
  ],
  ["an entity as a label", from({ reserved: "world" }), /groups of peers such as world are entities/],
  ["an entity that does not exist", from({ "reserved:kubeapiserver": "" }), /there is no such entity; did you mean "kube-apiserver"/],
  [
    "a label that identities leave out",
    from({ "statefulset.kubernetes.io/pod-name": "db-0" }),
    /shop\/db-0 has the label .*, but identities leave it out/,
  ],
  [
    "labels that nobody can have at once",
    ingress({ fromEndpoints: [{ matchLabels: { app: "web" }, matchExpressions: [{ key: "app", operator: "NotIn", values: ["web"] }] }] }),
    /no pod can be app!=web,app=web at once/,
  ],
  [
    "an exception by a misspelt value",
    ingress({ fromEndpoints: [{ matchExpressions: [{ key: "app", operator: "NotIn", values: ["wbe"] }] }] }),
    /L16 info: no pod has app=wbe; did you mean "web"/,
  ],
  [
    "one of specs that selects nobody",
    {
      kind: "CiliumNetworkPolicy",
      metadata: { name: "p", namespace: "shop" },
      specs: ["api", "apj"].map((app) => ({ endpointSelector: { matchLabels: { app } }, ingress: [web] })),
    },
    /L16 .*\[specs\[1\]\].*did you mean "api"/,
  ],
  [
    "a subject in another namespace",
    policy({ endpointSelector: { matchLabels: { "io.kubernetes.pod.namespace": "monitoring" } }, ingress: [{}] }),
    /L28 .*selects pods of its own namespace only/,
  ],
  [
    "the host as an endpoint",
    policy({ endpointSelector: { matchLabels: { "reserved:host": "" } }, ingress: [{}] }, "CiliumClusterwideNetworkPolicy"),
    /the host is selected by nodeSelector only/,
  ],
  [
    "nodes by a label that none has",
    nodes({ matchLabels: { "kubernetes.io/hostnme": "n1" } }),
    /selects no node: no node has a label .*did you mean "kubernetes\.io\/hostname"/,
  ],
  [
    "nodes by a value that none has",
    nodes({ matchLabels: { role: "control-plane" } }),
    /selects no node: no node has role=control-plane, they have "worker"/,
  ],
  [
    "a namespace for what has none",
    { ...nodes({}), metadata: { name: "p", namespace: "shop" } },
    /has no namespace and is about the pods of all of them/,
  ],
  [
    "a service that does not exist",
    egress({ toServices: [{ k8sService: { serviceName: "apii", namespace: "shop" } }] }),
    /L16 .*no service "apii" in shop; did you mean "api"/,
  ],
  [
    "a service of another namespace",
    egress({ toServices: [{ k8sService: { serviceName: "db", namespace: "default" } }] }),
    /L06 .*no service "db" in default, but one in shop/,
  ],
  [
    "services by labels that none has",
    egress({ toServices: [{ k8sServiceSelector: { namespace: "shop", selector: { matchLabels: { app: "x" } } } }] }),
    /no service in shop has app=x/,
  ],
  [
    "a service's own port behind toServices",
    egress({ toServices: [{ k8sService: { serviceName: "api", namespace: "shop" } }], ...on("80") }),
    /L03 .*listen on 8080/,
  ],
  [
    "a group of blocks that does not exist",
    egress({ toCIDRSet: [{ cidrGroupRef: "office" }] }),
    /L16 .*no CiliumCIDRGroup "office"; did you mean "offices"/,
  ],
  [
    "groups by labels that none has",
    egress({ toCIDRSet: [{ cidrGroupSelector: { matchLabels: { kind: "home" } } }] }),
    /no CiliumCIDRGroup with blocks has these labels/,
  ],
  // Address blocks.
  [
    "a block of which nothing is left",
    egress({ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.0.0.0/8"] }] }),
    /L29 .*nothing is left of 10\.0\.0\.0\/8/,
  ],
  [
    "… nor in halves",
    knp({ ingress: [{ from: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["0.0.0.0/1", "128.0.0.0/1"] } }] }] }),
    /nothing is left of 0\.0\.0\.0\/0/,
  ],
  [
    "an exception that another block lets in again",
    egress({ toCIDRSet: [{ cidr: "198.51.100.0/24", except: ["198.51.100.0/28"] }, { cidr: "198.51.100.0/25" }] }),
    /the exception 198\.51\.100\.0\/28 is allowed all the same, by 198\.51\.100\.0\/25/,
  ],
  ["one address with the length of its net", egress({ toCIDR: ["203.0.113.7/24"] }), /203\.0\.113\.7\/24 is all of 203\.0\.113\.0\/24/],
  ["everybody as a block", egress({ toCIDR: ["0.0.0.0/0"] }), /L04 .*everything outside the cluster: neither its pods nor its nodes/],
  ["a block of a family that is off", egress({ toCIDR: ["2001:db8::/32"] }), /matches nothing while IPv6 is off/],
  // Ports.
  ["a port's name that no pod has", ingress({ ...web, ...on("metrcs") }), /L30 .*called "metrcs".*did you mean "metrics"/],
  ["a port's name of another protocol", ingress({ ...web, ...on("http", {}, "UDP") }), /the port "http" of the pods is TCP/],
  [
    "a port's name outside the cluster",
    egress({ toEntities: ["world"], ...on("https") }),
    /L30 error: .*addresses outside the cluster have none/,
  ],
  ["a port that no container declares", ingress({ ...web, ...on("8081") }), /L30 info: none of the pods declares 8081\/TCP/],
  ["port 0", ingress({ ...web, ...on("0") }), /port 0 is every port/],
  ["a number as a name", knp({ ingress: [{ ports: [{ port: "8080" }] }] }), /L25 .*Kubernetes, which refuses names without letters/],
  // HTTP.
  ["an empty HTTP rule beside another", http({ method: "GET" }, {}), /L08 .*allows every request: the other is moot/],
  ["an HTTP rule that another covers", http({ path: "/.*" }, { method: "GET", path: "/a" }), /L10 .*adds nothing to http\[0\]/],
  ["a path without its slash", http({ path: "api/.*" }), /L17 .*matches no request: paths begin with "\/"/],
  ["a URL as path", http({ path: "https://shop.example.com/api" }), /matches no request: paths begin/],
  ["a path's placeholder", http({ path: "/users/{id}" }), /braces stand for themselves.*\/users\/\[\^\/\]\+/],
  ["another placeholder", http({ path: "/users/:id/orders" }), /stands for itself.*\/users\/\[\^\/\]\+\/orders/],
  ["a query", http({ path: "/search?q=.*" }), /does not begin the query.*\/search\\\?q=/],
  ["a path that is meant to go on", http({ path: "^/api" }), /matches just "\/api".*\^\/api\.\*/],
  ...["GET,POST", "GET, POST", "GET POST", "get/post"].map(
    (method) => [`the method ${method}`, http({ method }), /matches no request.*fix: write "GET\|POST"/] as const,
  ),
  ["a method that is none", http({ method: "GETT" }), /did you mean "GET"/],
  ["a method in small letters", http({ method: "Get" }), /methods are in capitals.*"GET"/],
  ["a host that is no pattern", http({ host: "*.example.com" }), /L17 .*matches nothing.*\[\^\.\]\+/],
  ["a URL as host", http({ host: "https://shop" }), /a host has no "\/"/],
  ["a header without its blank", http({ headers: ["X-Token:abc"] }), /a header that is called so, which none is.*"X-Token: abc"/],
  ["a pattern as a header's value", http({ headers: ["X-Token: .*"] }), /compared as it is/],
  ["no HTTP rules", ingress({ ...web, ...on("8080", { rules: { http: [] } }) }), /L24 .*everything on these ports is allowed/],
  // Names.
  ["an address as a name", fqdn({ matchName: "203.0.113.7" }), /is an address, which no name ever is/],
  ["a service of the cluster by its name", fqdn({ matchName: "db.shop.svc.cluster.local" }), /is a service of the cluster/],
  ["a short name", fqdn({ matchName: "db" }), /has one label/],
  ["any top-level domain", fqdn({ matchPattern: "example.*" }), /ends in a star/],
  [
    "a name that may not be asked for",
    cnp({ egress: [narrowDns, { toFQDNs: [{ matchName: "api.example.org" }] }] }),
    /L02 .*api\.example\.org: the DNS rules of shop\/api do not let it ask/,
  ],
  [
    "services that may not be asked for",
    cnp({ egress: [narrowDns, { toEndpoints: [{ matchLabels: { app: "db" } }] }] }),
    /its DNS rules refuse db\.shop\.svc\.cluster\.local/,
  ],
  [
    "a URL as server name",
    egress({ toEntities: ["world"], ...on("443", { serverNames: ["https://a.example.com"] }) }),
    /without scheme, port or path/,
  ],
  [
    "server names over UDP",
    egress({ toEntities: ["world"], ...on("443", { serverNames: ["a.example.com"] }, "UDP") }),
    /read from TLS over TCP/,
  ],
  // What is allowed and denied by it.
  ["a dash too many before the ports", ingress(web, on("8080")), /L31 .*a dash too many/],
  ["… in a NetworkPolicy", knp({ ingress: [{ from: [{ podSelector: {} }] }, { ports: [{ port: 8080 }] }] }), /L31 .*a dash too many/],
  [
    "a dash too many before the pods",
    knp({
      ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "retail" } } }, { podSelector: { matchLabels: { app: "web" } } }] }],
    }),
    /L31 info .*either is enough/,
  ],
  ["a denial alone", cnp({ ingressDeny: [web] }), /L32 .*denies everything else too/],
  [
    "a denial of all addresses beside names",
    cnp({ egress: [dns, { toFQDNs: [{ matchName: "a.example.com" }] }], egressDeny: [{ toCIDR: ["0.0.0.0/0"] }] }),
    /L09 .*\(egressDeny\) rule 0 denies all of it/,
  ],
  ["default deny without rules", cnp({ enableDefaultDeny: { egress: true }, ingress: [web] }), /has no effect, as there is no egress rule/],
  ["an allow where nothing denies", cnp({ enableDefaultDeny: { ingress: false }, ingress: [web] }), /L10 .*allows what nothing denies/],
  ["no types of ICMP", ingress({ ...web, icmps: [{ fields: [] }] }), /icmps with no fields matches no traffic/],
  ["no specs", { ...policy({}), spec: undefined, specs: [] }, /L24 .*has no rules, so it does nothing/],
  ["nobody in a NetworkPolicy", knp({ ingress: [{ from: [] }] }), /from: \[\] is as if it were not there: everybody/],
  [
    "a denial of DNS by a ClusterNetworkPolicy",
    policy(
      { tier: "Admin", priority: 1, subject: { namespaces: {} }, egress: [{ action: "Deny", to: [{ namespaces: {} }] }] },
      "ClusterNetworkPolicy",
    ),
    /L13 .*off from DNS: it denies/,
  ],
  // What stands in the wrong place.
  [
    "labels without matchLabels",
    policy({ endpointSelector: { app: "api" }, ingress: [web] }),
    /unknown field "app" is ignored; labels stand under matchLabels/,
  ],
  ["podSelector in a Cilium policy", policy({ podSelector: {}, endpointSelector: {}, ingress: [web] }), /here it is "endpointSelector"/],
  [
    "application rules beside toPorts",
    ingress({ ...web, ...on("8080"), rules: { http: [{}] } }),
    /"rules" is ignored; it stands under toPorts/,
  ],
  ["another API version", { ...ingress(web), apiVersion: "cilium.io/v1" }, /L25 .*fix: write apiVersion: cilium\.io\/v2/],
];

function lint(object: object, source = memorySource("test")): string[] {
  const sourced = [...cluster, object].map((one): SourcedObject => ({ object: one, source }));
  const found = lintWorld(createWorld(sourced));
  return found.map(
    ({ id, severity, path, message, fix }) => `${id} ${severity}${path === undefined ? "" : ` [${path}]`}: ${message} fix: ${fix}`,
  );
}

describe("lint of mistakes that people make", () => {
  it("speaks of an API version that is missing in a file, which what a cluster lists need not have", () => {
    const [found] = objectsIn(
      "f.yaml",
      "kind: CiliumNetworkPolicy\nmetadata: { name: p }\nspec: { endpointSelector: {}, ingress: [{}] }\n",
    );
    assert.ok(found !== undefined);
    const ids = (one: SourcedObject) => lintWorld(createWorld([one])).map(({ id, message }) => `${id} ${message}`);
    assert.deepEqual(ids(found), ["L25 apiVersion is missing: cilium.io/v2 is needed"]);
    assert.deepEqual(ids({ ...found, source: clusterSource }), []);
  });
  for (const [what, object, says] of mistakes) it(`speaks of ${what}`, () => assert.match(lint(object).join("\n"), says));

  it("finds peers that are nodes and do not exist, where these may be peers", () => {
    const settings = { kind: "ConfigMap", metadata: { name: "cilium-config" }, data: { "enable-node-selector-labels": "true" } };
    const peers = (name: string) => ingress({ fromNodes: [{ matchLabels: { "kubernetes.io/hostname": name } }] });
    const find = (name: string) =>
      lintWorld(createWorld([...cluster, settings, peers(name)].map((object) => ({ object, source: memorySource("test") }))));
    assert.match(JSON.stringify(find("east")), /no node has kubernetes\.io\/hostname=east/);
    assert.deepEqual(find("n2"), []);
  });

  it("is silent about what is right", () => {
    const right = [
      from({ "k8s:io.kubernetes.pod.namespace": "monitoring", app: "prometheus" }),
      ingress({ ...web, ...on("http") }, { fromEntities: ["host"] }),
      http(
        { method: "GET", path: "/users/[^/]+" },
        { method: "POST|PUT", path: "/users(/.*)?", host: "shop\\.example\\.com" },
        { headers: ["X-Token: abc"] },
      ),
      egress({ toServices: [{ k8sService: { serviceName: "db", namespace: "shop" } }] }, { toCIDRSet: [{ cidrGroupRef: "offices" }] }),
      fqdn({ matchPattern: "*.example.com" }),
      knp({ ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "retail" } }, podSelector: {} }], ports: [{ port: 8080 }] }] }),
      nodes({ matchLabels: { role: "worker" } }),
      cnp({ ingress: [{ fromEntities: ["cluster"] }], ingressDeny: [web] }),
      policy({ endpointSelector: { matchLabels: { "reserved:health": "" } }, ingress: [{}] }, "CiliumClusterwideNetworkPolicy"),
    ];
    for (const object of right) assert.deepEqual(lint(object), [], JSON.stringify(object));
  });

  it("knows that names may be asked of another server than the cluster's", () => {
    const rules = { dns: [{ matchPattern: "*.example.org" }] };
    const outside = { toCIDR: ["203.0.113.53/32"], toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules }] };
    const byName = (name: string) => cnp({ egress: [narrowDns, outside, { toFQDNs: [{ matchName: name }] }] });
    assert.doesNotMatch(lint(byName("api.example.org")).join("\n"), /do not let it ask/);
    assert.match(lint(byName("api.example.net")).join("\n"), /do not let it ask/);
  });

  it("knows of a cluster what it does not know of files", () => {
    const elsewhere = from({ "k8s:io.kubernetes.pod.namespace": "kube-node-lease" });
    assert.deepEqual(lint(elsewhere), []);
    assert.match(lint(elsewhere, clusterSource).join(), /nobody: there is no pod in kube-node-lease now/);
  });
});
