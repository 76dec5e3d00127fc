import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { matrixOf } from "../reach/matrix.ts";
import { type Connection, judge, parsePort, targetOf } from "./connection.ts";
import { findParty } from "./find.ts";
import { memorySource } from "./objects.ts";
import type { Party } from "./party.ts";
import { remedyFor } from "./remedy.ts";
import { createWorld, type World } from "./world.ts";

const deployment = (name: string, namespace: string, labels: object, port = 8080) => ({
  kind: "Deployment",
  metadata: { name, namespace },
  spec: { template: { metadata: { labels }, spec: { containers: [{ ports: [{ name: "http", containerPort: port }] }] } } },
});
const cnp = (name: string, spec: object) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name, namespace: "shop" },
  spec,
});
const cluster = [
  deployment("web", "shop", { app: "web" }),
  deployment("api", "shop", { app: "api", tier: "back" }),
  deployment("db", "data", { app: "db" }, 5432),
  {
    kind: "Service",
    metadata: { name: "api", namespace: "shop" },
    spec: { clusterIP: "10.96.0.9", selector: { app: "api" }, ports: [{ port: 80, targetPort: "http" }] },
  },
  {
    kind: "Node",
    metadata: { name: "n1", labels: { "kubernetes.io/hostname": "n1" } },
    status: { addresses: [{ address: "192.168.0.1" }] },
  },
];
const api = { endpointSelector: { matchLabels: { app: "api" } } };
const fromWeb = [{ matchLabels: { app: "web" } }];
const on = (port: string, rules?: object) => [{ ports: [{ port, protocol: "TCP" }], ...(rules === undefined ? {} : { rules }) }];

const worldOf = (...policies: object[]) =>
  createWorld([...cluster, ...policies].map((object) => ({ object, source: memorySource("test") })));

function party(world: World, text: string): Party {
  const found = findParty(world, text);
  assert.ok("parties" in found, "problem" in found ? found.problem : "");
  const [first] = found.parties;
  assert.ok(first);
  return first;
}

function connection(world: World, from: string, to: string, port: string, http?: { method: string; path: string }): Connection {
  const question = parsePort(port);
  const found = findParty(world, to);
  assert.ok(question && "parties" in found);
  const target = targetOf(question, party(world, to), found.service);
  assert.ok("port" in target, JSON.stringify(target));
  const request = http && { ...http, host: "api", headers: [] };
  return { from: party(world, from), to: party(world, to), protocol: target.protocol, port: target.port, http: request };
}

describe("findParty", () => {
  const world = worldOf(cnp("p", { ...api, egress: [{ toFQDNs: [{ matchPattern: "*.example.com" }] }, { toCIDR: ["10.1.0.0/16"] }] }));

  it("takes pods, workloads, services, labels, addresses, names and entities", () => {
    const titles = [
      "shop/web",
      "web",
      "svc/shop/api",
      "api.shop",
      "api.shop.svc.cluster.local",
      "10.96.0.9",
      "shop/app=api",
      "app=db",
      "node/n1",
      "192.168.0.1",
    ];
    assert.deepEqual(
      titles.map((text) => party(world, text).title),
      ["shop/web", "shop/web", "shop/api", "shop/api", "shop/api", "shop/api", "shop/api", "data/db", "node n1", "node n1"],
    );
    assert.equal(party(world, "10.1.2.3").kind, "outside");
    assert.equal(party(world, "deploy/shop/web").title, "shop/web");
    assert.equal(party(world, "shop/app.kubernetes.io/name=x").title, "shop/[app.kubernetes.io/name=x]");
  });

  it("says who is near when it finds nobody", () => {
    const problem = (text: string) => {
      const found = findParty(world, text);
      return "problem" in found ? found.problem : "found";
    };
    assert.match(problem("shop/wbe"), /did you mean "web"/);
    assert.match(problem("svc/shop/apy"), /did you mean "api"/);
    assert.match(problem("shpo/web"), /namespace "shpo"; did you mean "shop"/);
    assert.match(problem("node/n2"), /did you mean "n1"/);
    for (const odd of ["", "/", "a/b/c/d", "=", "*", "::::", "1.2.3.4/99"]) assert.doesNotThrow(() => findParty(world, odd));
  });
});

/** What is asked, how it is decided, and what the patch must look like. */
const cases: readonly {
  name: string;
  policies: object[];
  ask: readonly [from: string, to: string, port: string, http?: { method: string; path: string }];
  allowed: boolean;
  patch: RegExp;
}[] = [
  {
    name: "default deny",
    policies: [cnp("p", { ...api, ingress: [{}] })],
    ask: ["web", "svc/shop/api", "80"],
    allowed: false,
    patch: /"fromEndpoints".*"app":"web".*"8080"/,
  },
  {
    name: "default deny at both ends",
    policies: [cnp("p", { endpointSelector: {}, ingress: [{}], egress: [{}] })],
    ask: ["web", "api", "9"],
    allowed: false,
    patch: /"egress".*"ingress"/,
  },
  {
    name: "another namespace",
    policies: [cnp("p", { ...api, ingress: [{}] })],
    ask: ["db", "api", "9"],
    allowed: false,
    patch: /"k8s:io.kubernetes.pod.namespace":"data"/,
  },
  {
    name: "a deny on labels",
    policies: [cnp("p", { ...api, ingressDeny: [{ fromEndpoints: [{}] }] })],
    ask: ["web", "api", "9"],
    allowed: false,
    patch: /"NotIn","values":\["web"\]/,
  },
  {
    name: "a deny on an entity",
    policies: [cnp("p", { ...api, egressDeny: [{ toEntities: ["world"] }], egress: [{}] })],
    ask: ["api", "1.1.1.1", "9"],
    allowed: false,
    patch: /"toCIDR":\["1.1.1.1\/32"\]/,
  },
  {
    name: "a deny on a block",
    policies: [cnp("p", { ...api, egressDeny: [{ toCIDR: ["10.0.0.0/8"] }], egress: [{ toEntities: ["all"] }] })],
    ask: ["api", "10.2.3.4", "9"],
    allowed: false,
    patch: /"except":\["10.2.3.4\/32"\]/,
  },
  {
    name: "a deny of a ClusterNetworkPolicy",
    policies: [
      {
        apiVersion: "policy.networking.k8s.io/v1alpha2",
        kind: "ClusterNetworkPolicy",
        metadata: { name: "admin" },
        spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, ingress: [{ action: "Deny", from: [{ namespaces: {} }] }] },
      },
    ],
    ask: ["web", "api", "9"],
    allowed: false,
    patch: /^\[\{[^[]*"name":"pass-web-to-api".*"priority":0,"subject":.*"app":"api".*"action":"Pass".*"app":"web".*"number":9\}/,
  },
  {
    name: "a deny of a ClusterNetworkPolicy for a namespace whose manifest has no labels of the API server's",
    policies: [
      { kind: "Namespace", metadata: { name: "shop", labels: { team: "x" } } },
      { kind: "Namespace", metadata: { name: "data", labels: { team: "y" } } },
      {
        apiVersion: "policy.networking.k8s.io/v1alpha2",
        kind: "ClusterNetworkPolicy",
        metadata: { name: "weak" },
        spec: {
          ...{ tier: "Admin", priority: 0, subject: { namespaces: { matchLabels: { team: "x" } } } },
          ingress: [{ action: "Deny", from: [{ namespaces: {} }] }],
        },
      },
    ],
    ask: ["db", "api", "9"],
    allowed: false,
    patch: /"action":"Pass".*"app":"db".*"number":9.*"action":"Deny"/,
  },
  {
    name: "a refused request",
    policies: [cnp("p", { ...api, ingress: [{ fromEndpoints: fromWeb, toPorts: on("8080", { http: [{ method: "GET" }] }) }] })],
    ask: ["web", "svc/shop/api", "80", { method: "POST", path: "/a.b" }],
    allowed: false,
    patch: /"method":"POST","path":"\/a\\\\.b"/,
  },
  {
    name: "a name",
    policies: [cnp("p", { ...api, egress: [{}] })],
    ask: ["api", "a.example.com", "443"],
    allowed: false,
    patch: /"matchName":"a.example.com".*"dns"/,
  },
  {
    name: "ICMP",
    policies: [cnp("p", { ...api, ingress: [{}] })],
    ask: ["web", "api", "icmp"],
    allowed: false,
    patch: /"icmps".*"type":8/,
  },
  {
    name: "a node",
    policies: [cnp("p", { ...api, ingress: [{}] })],
    ask: ["192.168.0.1", "api", "9"],
    allowed: false,
    patch: /"remote-node"/,
  },
  { name: "no policy", policies: [], ask: ["web", "api", "http"], allowed: true, patch: /"ingressDeny"/ },
  { name: "an allow towards the world", policies: [], ask: ["web", "1.1.1.1", "9"], allowed: true, patch: /"egressDeny".*1.1.1.1\/32/ },
];

describe("remedyFor", () => {
  for (const { name, policies, ask, allowed, patch } of cases) {
    it(`turns the verdict around: ${name}`, () => {
      const world = worldOf(...policies);
      const asked = connection(world, ...ask);
      assert.equal(judge(world, asked).allowed, allowed);
      const remedy = remedyFor(world, asked);
      assert.match(JSON.stringify(remedy?.objects), patch);
      const after = worldOf(...policies, ...(remedy?.objects ?? []));
      assert.equal(judge(after, connection(after, ...ask)).allowed, !allowed);
    });
  }

  it("empties a list of denials rather than leave it out, which kubectl apply would pass over", () => {
    const world = worldOf(
      cnp("p", { ...api, egressDeny: [{ toCIDR: ["1.1.1.1/32"], toPorts: on("9") }], egress: [{ toEntities: ["all"] }] }),
    );
    const remedy = remedyFor(world, connection(world, "api", "1.1.1.1", "9"));
    assert.match(JSON.stringify(remedy?.objects), /"egressDeny":\[\]/);
  });

  it("denies one request alone, where HTTP rules can say so, and leaves every other as it was", () => {
    const http = { method: "POST", path: "/admin" };
    const l7 = (...rules: object[]) => cnp("p", { ...api, ingress: [{ fromEndpoints: fromWeb, toPorts: on("9", { http: rules }) }] });
    const more = cnp("q", { ...api, ingress: [{ fromEndpoints: fromWeb, toPorts: on("9", { http: [{ path: "/admin|/x" }] }) }] });
    for (const policies of [
      [l7({})],
      [l7({ method: "GET|POST", path: "/.*" })],
      [l7({ method: "POST", path: "/admin" })],
      [l7({ method: "POST", path: "/admin" }, { path: "/v1/.*" }), more],
    ]) {
      const world = worldOf(...policies);
      const remedy = remedyFor(world, connection(world, "web", "api", "9", http));
      assert.match(remedy?.summary.join() ?? "", /^changed: shop\/p \(ingress\) rule 0 leaves out POST \/admin/);
      const after = worldOf(...policies, ...(remedy?.objects ?? []));
      for (const method of ["GET", "POST", "PUT"])
        for (const path of ["/admin", "/admin/", "/admi", "/v1/x", "/x"]) {
          const allowed = (one: World) => judge(one, connection(one, "web", "api", "9", { method, path })).allowed;
          assert.equal(allowed(after), allowed(world) && !(method === http.method && path === http.path), `${method} ${path}`);
        }
    }
  });

  it("says why one request alone cannot be denied", () => {
    const rules = { http: [{ path: "/[a-z]+" }] };
    const world = worldOf(cnp("p", { ...api, ingress: [{ fromEndpoints: fromWeb, toPorts: on("9", rules) }] }));
    const remedy = remedyFor(world, connection(world, "web", "api", "9", { method: "GET", path: "/admin" }));
    assert.match(
      remedy?.summary.join() ?? "",
      /denies every request to port 9.*shop\/p \(ingress\) rule 0: no pattern matches what "\/\[a-z\]\+" does but this/,
    );
  });

  it("says that a denial of a request takes the whole port", () => {
    const world = worldOf();
    const asked = { ...connection(world, "web", "api", "9"), http: { method: "GET", path: "/", host: "api", headers: [] } };
    assert.match(remedyFor(world, asked)?.summary.join() ?? "", /denies every request to port 9/);
  });

  it("knows that nobody serves a listener", () => {
    const toPorts = [{ ports: [{ port: "9", protocol: "TCP" }], listener: { envoyConfig: { name: "c" }, name: "l" } }];
    const world = worldOf(cnp("p", { ...api, egress: [{ toPorts }] }));
    assert.equal(judge(world, connection(world, "api", "web", "9")).allowed, false);
    assert.match(
      world.policies[0]?.parsed.warnings.map(({ message }) => message).join() ?? "",
      /nobody serves listener "l".*would be reset/,
    );
  });

  it("leaves everybody else as they were", () => {
    const policies = [cnp("p", { endpointSelector: {}, ingress: [{}] })];
    const world = worldOf(...policies);
    const remedy = remedyFor(world, connection(world, "web", "api", "9"));
    const after = worldOf(...policies, ...(remedy?.objects ?? []));
    const denied = (from: string, to: string, port: string) =>
      assert.equal(judge(after, connection(after, from, to, port)).allowed, false, `${from} to ${to} ${port}`);
    denied("db", "api", "9");
    denied("web", "api", "10");
    denied("api", "web", "9");
  });

  it("has nothing to say where no policy of ours stands", () => {
    const world = worldOf();
    assert.equal(remedyFor(world, connection(world, "1.1.1.1", "8.8.8.8", "9")), undefined);
  });
});

describe("targetOf", () => {
  it("follows a service to its target port and names the service's ports otherwise", () => {
    const world = worldOf();
    const found = findParty(world, "svc/shop/api");
    assert.ok("parties" in found && found.parties[0]);
    const target = (port: string) =>
      targetOf(parsePort(port) ?? { protocol: 6, port: 0, name: "" }, found.parties[0] as Party, found.service);
    assert.deepEqual(
      [target("80")].map((one) => ("port" in one ? one.port : one.problem)),
      [8080],
    );
    assert.match(JSON.stringify(target("8081")), /has no port 8081, it has 80/);
  });

  it("asks for the echo request of the address that is asked for, at either end", () => {
    const pod = { kind: "Pod", metadata: { name: "two", namespace: "shop" }, status: { podIPs: [{ ip: "10.0.0.9" }, { ip: "fd00::9" }] } };
    const world = worldOf(pod);
    const icmp = (to: string, from = "web") => {
      const target = targetOf(parsePort("icmp") ?? { protocol: 1, port: 0, name: "" }, party(world, to), undefined, party(world, from));
      return "port" in target ? [target.protocol, target.port] : target;
    };
    assert.deepEqual(
      ["two", "10.0.0.9", "fd00::9", "fd01::/64", "1.1.1.1"].map((to) => icmp(to)),
      [
        [1, 8],
        [1, 8],
        [58, 128],
        [58, 128],
        [1, 8],
      ],
    );
    assert.deepEqual(
      [icmp("two", "fd01::1"), icmp("two", "world")],
      [
        [58, 128],
        [1, 8],
      ],
    );
  });

  it("says of which protocol a port has the name", () => {
    const dns = deployment("dns", "shop", { app: "dns" });
    const container = { ports: [{ name: "dns", containerPort: 53, protocol: "UDP" }] };
    const world = worldOf({ ...dns, spec: { template: { ...dns.spec.template, spec: { containers: [container] } } } });
    const target = (port: string) => targetOf(parsePort(port) ?? { protocol: 6, port: 0, name: "" }, party(world, "dns"), undefined);
    assert.deepEqual(target("dns"), { problem: 'shop/dns has no port named "dns" for TCP; it has dns/udp' });
    assert.partialDeepStrictEqual(target("dns/udp"), { port: 53 });
  });
});

describe("a pod that talks to itself", () => {
  const closed = cnp("closed", { endpointSelector: {}, ingress: [{}], egress: [{}] });
  const pod = (name: string) => ({
    kind: "Pod",
    metadata: {
      name,
      namespace: "shop",
      labels: { app: "one" },
      ownerReferences: [{ kind: "StatefulSet", name: "one", controller: true }],
    },
    spec: {},
  });
  const template = (replicas: number) => ({ ...deployment("own", "shop", { app: "own" }), spec: { ...own.spec, replicas } });
  const own = deployment("own", "shop", { app: "own" });
  const judged = (from: string, to: string, ...objects: object[]) => {
    const world = worldOf(closed, ...objects);
    return judge(world, connection(world, from, to, "9"));
  };

  it("does not leave the pod, whatever the policies say", () => {
    const alone = { egress: undefined, ingress: undefined, allowed: true, itself: true };
    assert.deepEqual(judged("one-0", "one-0", pod("one-0"), pod("one-1")), alone);
    assert.deepEqual(judged("shop/one", "shop/one", pod("one-0")), alone);
    assert.deepEqual(judged("own", "own", template(1)), alone);
  });

  it("is not one replica that talks to another, nor one of which nobody knows how many there are", () => {
    assert.equal(judged("one-0", "one-1", pod("one-0"), pod("one-1")).allowed, false);
    assert.equal(judged("shop/one", "shop/one", pod("one-0"), pod("one-1")).allowed, false);
    assert.equal(judged("own", "own", template(2)).allowed, false);
    assert.equal(judged("web", "web").allowed, false);
  });

  it("may send itself everything in a matrix", () => {
    const { parties, cells } = matrixOf(worldOf(closed, template(1)));
    const text = (title: string) => {
      const at = parties.findIndex((one) => one.title === title);
      return cells[at]?.[at]?.text;
    };
    assert.deepEqual([text("shop/own"), text("shop/web")], ["everything: it does not leave the pod", "nothing"]);
  });
});
