import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import fc from "fast-check";
import { FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { parsePolicy } from "../parse/parse.ts";
import { memorySource } from "../world/objects.ts";
import { createWorld } from "../world/world.ts";
import { learn, objectOf } from "./learn.ts";
import { createObservations, type Observed } from "./observed.ts";
import { rulesForRequests } from "./paths.ts";
import { prove } from "./prove.ts";
import { whatIf } from "./what-if.ts";

const pod = (namespace: string, labels: Record<string, string>, workload = labels.app ?? "pod") => ({
  identity: 1000,
  namespace,
  labels: [
    ...Object.entries(labels).map(([key, value]) => `k8s:${key}=${value}`),
    `k8s:io.kubernetes.pod.namespace=${namespace}`,
    "k8s:io.cilium.k8s.policy.cluster=default",
  ],
  pod_name: `${workload}-x1`,
  workloads: [{ name: workload, kind: "Deployment" }],
});
const postgres = pod("production", { app: "postgres" });
const backend = pod("production", { app: "backend", environment: "production" });
const redis = pod("production", { app: "cache", environment: "production" }, "redis");
const dns = pod("kube-system", { "k8s-app": "kube-dns" }, "coredns");

const base = (source: object, destination: object, l4: object): JsonObject =>
  ({
    verdict: "FORWARDED",
    Type: "L3_L4",
    source,
    destination,
    l4,
    is_reply: false,
    IP: { source: "10.0.0.1", destination: "10.0.0.2" },
  }) as JsonObject;
const tcp = (source: object, destination: object, port: number, more: object = {}): JsonObject =>
  ({ ...base(source, destination, { TCP: { source_port: 40000, destination_port: port, flags: { SYN: true } } }), ...more }) as JsonObject;
const udp = (source: object, destination: object, port: number, more: object = {}): JsonObject =>
  ({ ...base(source, destination, { UDP: { source_port: 40000, destination_port: port } }), ...more }) as JsonObject;
const http = (source: object, destination: object, method: string, url: string): JsonObject =>
  tcp(source, destination, 80, { Type: "L7", l7: { type: "REQUEST", http: { method, url, protocol: "HTTP/1.1" } } });
const query = (source: object, name: string): JsonObject =>
  udp(source, dns, 53, { Type: "L7", l7: { type: "REQUEST", dns: { query: `${name}.` } } });
const world_ = { identity: 2, labels: ["reserved:world"] };

function observe(...flows: JsonObject[]): Observed[] {
  const observations = createObservations();
  for (const flow of flows) observations.add(fromJson(FlowSchema, flow));
  return observations.list();
}

const cnp = (name: string, namespace: string, spec: object) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name, namespace },
  spec,
});
const worldOf = (...objects: object[]) => createWorld(objects.map((object) => ({ object, source: memorySource("test") })));

/** "The Policy That Ate Christmas": what was applied on December 23rd, 2:47 PM. */
const databaseSecurity = cnp("database-security", "production", {
  endpointSelector: { matchLabels: { app: "postgres" } },
  ingress: [{ fromEndpoints: [{ matchLabels: { app: "backend", environment: "production" } }] }],
});

describe("what-if", () => {
  it("tells before Christmas that the cache would lose its database, and that the backend would not", () => {
    const observed = observe(tcp(backend, postgres, 5432), tcp(redis, postgres, 5432), tcp(redis, postgres, 5432));
    const { denied, allowed, uncertain, unchanged } = whatIf(worldOf(), worldOf(databaseSecurity), observed);
    assert.deepEqual(
      denied.map(({ from, to, port, flows }) => [from, to, port, flows]),
      [["production/redis", "production/postgres", "5432/TCP", 2]],
    );
    assert.match(denied[0]?.why ?? "", /database-security.*needs app=backend, has app=cache/);
    assert.deepEqual([allowed.length, uncertain.length, unchanged], [0, 0, 1]);
  });
  it("tells what a policy that goes, or that allows more, would let in", () => {
    const observed = observe(tcp(redis, postgres, 5432, { verdict: "DROPPED", is_reply: null }));
    const { allowed, denied } = whatIf(worldOf(databaseSecurity), worldOf(), observed);
    assert.deepEqual([allowed.length, denied.length], [1, 0]);
  });
  it("judges requests by HTTP rules and names by DNS rules", () => {
    const [web, api] = [pod("shop", { app: "web" }), pod("shop", { app: "api" })];
    const rules = cnp("api", "shop", {
      endpointSelector: { matchLabels: { app: "api" } },
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { app: "web" } }],
          toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET", path: "/orders/.*" }] } }],
        },
      ],
    });
    const names = cnp("web", "shop", {
      endpointSelector: { matchLabels: { app: "web" } },
      egress: [
        { toEndpoints: [{ matchLabels: { app: "api" } }] },
        {
          toEndpoints: [{ matchLabels: { "k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system" } }],
          toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchName: "api.shop.svc.cluster.local" }] } }],
        },
      ],
    });
    const observed = observe(
      tcp(web, api, 80),
      http(web, api, "GET", "http://api/orders/7"),
      http(web, api, "POST", "http://api/orders/7"),
      query(web, "api.shop.svc.cluster.local"),
      query(web, "evil.example"),
    );
    const { denied, uncertain } = whatIf(worldOf(), worldOf(rules, names), observed);
    assert.deepEqual(denied.map(({ requests }) => requests).sort(), [["POST /orders/7"], ["evil.example"]]);
    assert.equal(uncertain.length, 0);
    const bare = whatIf(worldOf(), worldOf(rules), observe(tcp(web, api, 80)));
    assert.deepEqual([bare.denied.length, bare.uncertain.length], [0, 1], "no request was recorded: nobody can say");
  });
  it("judges addresses outside by their blocks and by the names that they were asked for", () => {
    const egress = (peer: object) => cnp("p", "production", { endpointSelector: { matchLabels: { app: "backend" } }, egress: [peer] });
    const flow = tcp(backend, world_, 443, {
      IP: { source: "10.0.0.1", destination: "198.51.100.7" },
      destination_names: ["api.example.com"],
    });
    const denied = (peer: object) => whatIf(worldOf(), worldOf(egress(peer)), observe(flow)).denied.length;
    assert.equal(denied({ toCIDR: ["198.51.100.0/24"] }), 0);
    assert.equal(denied({ toCIDR: ["192.0.2.0/24"] }), 1);
    assert.equal(denied({ toFQDNs: [{ matchPattern: "*.example.com" }] }), 0);
    assert.equal(denied({ toFQDNs: [{ matchName: "example.com" }] }), 1);
    assert.equal(denied({ toEntities: ["world"] }), 0);
  });
  it("leaves out answers and what says nothing of its direction, and counts it", () => {
    const observations = createObservations();
    const flows = [
      tcp(postgres, backend, 40000, { is_reply: true }),
      tcp(backend, postgres, 5432, { is_reply: null, verdict: "TRACED" }),
      tcp(backend, postgres, 5432, {
        is_reply: null,
        verdict: "DROPPED",
        l4: { TCP: { destination_port: 5432, flags: { ACK: true } } },
      }),
      tcp({}, postgres, 5432, { IP: {} }),
    ];
    for (const flow of flows) observations.add(fromJson(FlowSchema, flow));
    assert.deepEqual([observations.list().length, [...observations.leftOut.values()].reduce((a, b) => a + b, 0)], [0, 4]);
  });
});

describe("learn", () => {
  const web = pod("shop", { app: "web", "pod-template-hash": "abc" });
  const other = pod("shop", { app: "web", "pod-template-hash": "def" });
  const api = pod("shop", { app: "api" });
  const traffic = [
    tcp(web, api, 80),
    tcp(other, api, 80),
    http(web, api, "GET", "http://api/orders/17?full=1"),
    http(web, api, "GET", "http://api/orders/4"),
    http(web, api, "POST", "http://api/orders"),
    udp(web, dns, 53),
    query(web, "api.shop.svc.cluster.local"),
    query(web, "pay.example.com"),
    tcp(web, world_, 443, { IP: { source: "10.0.0.1", destination: "198.51.100.7" }, destination_names: ["pay.example.com"] }),
    tcp(api, web, 9999, { verdict: "DROPPED", is_reply: null }),
    tcp({ identity: 1, labels: ["reserved:host"] }, api, 8080),
  ];
  const learned = () => learn(observe(...traffic), (namespace) => namespace === "shop");

  it("names pods by labels that stay, asks for names and paths, and learns nothing from drops, answers and the node", () => {
    const policies = learned().policies.map(objectOf);
    assert.deepEqual(
      policies.map(({ metadata, spec }) => [metadata.name, spec.endpointSelector.matchLabels, spec.ingress, spec.egress]),
      [
        [
          "learned-api",
          { app: "api" },
          [
            {
              fromEndpoints: [{ matchLabels: { app: "web" } }],
              toPorts: [
                {
                  ports: [{ port: "80", protocol: "TCP" }],
                  rules: {
                    http: [
                      { method: "GET", path: "/orders/[0-9]+(\\?.*)?" },
                      { method: "POST", path: "/orders" },
                    ],
                  },
                },
              ],
            },
          ],
          [{}],
        ],
        [
          "learned-web",
          { app: "web" },
          [{}],
          [
            { toEndpoints: [{ matchLabels: { app: "api" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
            {
              toEndpoints: [{ matchLabels: { "k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system" } }],
              toPorts: [
                {
                  ports: [{ port: "53", protocol: "UDP" }],
                  rules: { dns: [{ matchName: "api.shop.svc.cluster.local" }, { matchName: "pay.example.com" }] },
                },
              ],
            },
            { toFQDNs: [{ matchName: "pay.example.com" }], toPorts: [{ ports: [{ port: "443", protocol: "TCP" }] }] },
          ],
        ],
      ],
    );
  });
  it("proves that the policies allow what was seen and no variation of it", () => {
    const proof = prove(learned(), observe(...traffic));
    assert.deepEqual([proof.missing, proof.unintended, proof.holds], [[], [], true]);
    assert.ok(proof.varied > 50, `${proof.varied} variations`);
  });
  it("finds the fault of policies that allow less, or more", () => {
    const { policies, ...rest } = learned();
    const without = prove({ ...rest, policies: policies.map((one) => ({ ...one, egress: one.egress.slice(1) })) }, observe(...traffic));
    assert.deepEqual([without.holds, without.missing.length > 0], [false, true]);
    const wide = policies.map((one) => ({ ...one, ingress: [{ rule: { fromEntities: ["all"] }, flows: 1, last: 0 }] }));
    const more = prove({ ...rest, policies: wide }, observe(...traffic));
    assert.deepEqual([more.holds, more.unintended.length > 0], [false, true]);
  });
  it("tells workloads apart that share a label, and keeps those of one name in two namespaces apart", () => {
    const [blue, green] = [pod("shop", { app: "x", color: "blue" }, "blue"), pod("shop", { app: "x", color: "green" }, "green")];
    const flows = [tcp(blue, api, 80), tcp(green, api, 81), tcp(pod("lab", { app: "x", color: "blue" }, "blue"), api, 82)];
    const found = learn(observe(...flows), (namespace) => namespace === "shop");
    assert.deepEqual(
      found.policies.map(({ labels }) => labels),
      [{ app: "api" }, { app: "x", color: "blue" }, { app: "x", color: "green" }],
    );
    assert.ok(prove(found, observe(...flows)).holds);
  });
  it("takes any flow without throwing, and writes no policy that is refused", () => {
    const text = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom("app", "kube-dns", "a.b", "_x._tcp.c", "reserved:host", "::1", "/?"),
    );
    const end = fc.record({
      identity: fc.constantFrom(0, 1, 2, 4, 6, 7, 300, 2 ** 24 + 1),
      namespace: text,
      labels: fc.array(
        fc.oneof(
          text,
          fc.constantFrom("k8s:app=web", "k8s:app=A_b.c", "k8s:app", "k8s:x/y=z", "any:q=1"),
          fc.constant("k8s:io.kubernetes.pod.namespace=n"),
        ),
        { maxLength: 4 },
      ),
      pod_name: text,
    });
    const l4 = fc.oneof(
      fc.record({ TCP: fc.record({ destination_port: fc.nat(65_535) }) }),
      fc.record({ UDP: fc.record({ destination_port: fc.constantFrom(0, 53) }) }),
      fc.record({ ICMPv4: fc.record({ type: fc.nat(255) }) }),
      fc.constant({}),
    );
    const l7 = fc.oneof(
      fc.record({ type: fc.constant("REQUEST"), http: fc.record({ method: text, url: text }) }),
      fc.record({ type: fc.constant("REQUEST"), dns: fc.record({ query: text }) }),
    );
    const plain = fc.record({
      source: end,
      destination: end,
      l4,
      is_reply: fc.boolean(),
      verdict: fc.constantFrom("FORWARDED", "DROPPED"),
    });
    const ip = fc.constantFrom("10.0.0.1", "2001:db8::1", "x", "");
    const more = fc.record({
      Type: fc.constantFrom("L3_L4", "L7"),
      l7,
      IP: fc.record({ source: ip, destination: ip }),
      destination_names: fc.array(text, { maxLength: 2 }),
    });
    const flow = fc.tuple(plain, more).map(([a, b]) => ({ ...a, ...b }) as JsonObject);
    const check = (flows: JsonObject[]) => {
      const observed = observe(...flows);
      const found = learn(observed, () => true);
      prove(found, observed);
      for (const policy of found.policies) {
        const { issues } = parsePolicy(objectOf(policy));
        assert.deepEqual(issues, [], JSON.stringify(objectOf(policy)));
      }
    };
    fc.assert(fc.property(fc.array(flow, { maxLength: 6 }), check), { numRuns: 300 });
  });
  it("generalises what differs from thing to thing in a path, and nothing else", () => {
    const paths = (...list: string[]) => rulesForRequests(list.map((path) => ({ method: "GET", path }))).map(({ path }) => path);
    assert.deepEqual(paths("/users/1/cart", "/users/22/cart"), ["/users/[0-9]+/cart"]);
    assert.deepEqual(paths("/a.b", "/c"), ["/a\\.b", "/c"]);
    assert.deepEqual(paths("/f/6f1ed002-ab55-4ad3-8f5f-1f1d7ae6a2c1"), ["/f/[0-9a-fA-F-]{36}"]);
    assert.deepEqual(paths(..."abcdefgh".split("").map((name) => `/u/${name}/x`)), ["/u/[^/]+/x"]);
    assert.deepEqual(paths("/s?q=1", "/s"), ["/s(\\?.*)?"]);
  });
});
