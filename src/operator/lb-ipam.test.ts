import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CiliumLoadBalancerIPPool, Service } from "#k8s/types.ts";
import { assignAddresses } from "./lb-ipam.ts";

const pool = (name: string, spec: CiliumLoadBalancerIPPool["spec"]): CiliumLoadBalancerIPPool => ({ metadata: { name }, spec: spec ?? {} });

interface Options {
  readonly annotations?: Record<string, string>;
  readonly labels?: Record<string, string>;
  readonly has?: readonly string[];
  readonly spec?: Service["spec"];
  readonly namespace?: string;
}

let age = 0;
const service = (name: string, { annotations = {}, labels = {}, has = [], spec = {}, namespace = "demo" }: Options = {}): Service => ({
  metadata: { namespace, name, annotations, labels, creationTimestamp: `2026-01-01T00:00:${String(age++ % 60).padStart(2, "0")}Z` },
  spec: { type: "LoadBalancer", ports: [{ port: 80 }], ...spec },
  status: { loadBalancer: { ingress: has.map((ip) => ({ ip })) } },
});

const small = pool("small", { blocks: [{ cidr: "172.18.255.0/30" }] });

function shown(pools: CiliumLoadBalancerIPPool[], services: Service[]): Record<string, string> {
  const { services: assigned } = assignAddresses(pools, services);
  return Object.fromEntries(
    [...assigned].map(([key, { ips, reason }]) => [key, `${ips.join(" ")}${reason === "satisfied" ? "" : ` ${reason}`}`.trim()]),
  );
}

describe("assignAddresses", () => {
  it("gives each service an address, the oldest first, until there is none", () => {
    const services = ["a", "b", "c", "d", "e"].map((name) => service(name));
    assert.deepEqual(shown([small], services), {
      "demo/a": "172.18.255.0",
      "demo/b": "172.18.255.1",
      "demo/c": "172.18.255.2",
      "demo/d": "172.18.255.3",
      "demo/e": "out_of_ips",
    });
  });
  it("leaves addresses where they are, also when the pool is disabled", () => {
    const disabled = pool("small", { blocks: [{ cidr: "172.18.255.0/30" }], disabled: true });
    const had = service("old", { has: ["172.18.255.2"] });
    assert.deepEqual(shown([small], [had, service("new")]), { "demo/old": "172.18.255.2", "demo/new": "172.18.255.0" });
    assert.deepEqual(shown([disabled], [had, service("new")]), { "demo/old": "172.18.255.2", "demo/new": "no_pool" });
    assert.deepEqual(shown([pool("other", { blocks: [{ start: "10.0.0.7" }] })], [had]), { "demo/old": "10.0.0.7" });
  });
  it("knows what a pool selects: labels, names and namespaces", () => {
    const red = pool("red", { blocks: [{ cidr: "10.1.0.0/24" }], serviceSelector: { matchLabels: { colour: "red" } } });
    const kube = pool("kube", {
      blocks: [{ start: "10.2.0.5", stop: "10.2.0.9" }],
      serviceSelector: { matchExpressions: [{ key: "io.kubernetes.service.namespace", operator: "In", values: ["kube-system"] }] },
    });
    assert.deepEqual(
      shown([red, kube], [service("r", { labels: { colour: "red" } }), service("x"), service("k", { namespace: "kube-system" })]),
      {
        "demo/r": "10.1.0.0",
        "demo/x": "no_pool",
        "kube-system/k": "10.2.0.5",
      },
    );
  });
  it("gives the addresses that are asked for, or says why not", () => {
    const ask = (name: string, ips: string) => service(name, { annotations: { "lbipam.cilium.io/ips": ips } });
    assert.deepEqual(
      shown(
        [small],
        [ask("a", "172.18.255.3"), ask("b", "172.18.255.3"), ask("c", "192.0.2.1"), ask("d", "one"), ask("e", "172.18.255.1,172.18.255.2")],
      ),
      {
        "demo/a": "172.18.255.3",
        "demo/b": "already_allocated",
        "demo/c": "no_pool",
        "demo/d": "invalid_ip",
        "demo/e": "172.18.255.1 172.18.255.2",
      },
    );
    assert.deepEqual(shown([small], [service("f", { spec: { loadBalancerIP: "172.18.255.2" } })]), { "demo/f": "172.18.255.2" });
  });
  it("lets services share an address by key, with ports of their own", () => {
    const share = (name: string, port: number, namespace = "demo", more: Record<string, string> = {}) =>
      service(name, { annotations: { "lbipam.cilium.io/sharing-key": "one", ...more }, spec: { ports: [{ port }] }, namespace });
    const across = { "lbipam.cilium.io/sharing-cross-namespace": "*" };
    assert.deepEqual(shown([small], [share("a", 80), share("b", 443), share("c", 80), share("d", 8080, "other"), service("e")]), {
      "demo/a": "172.18.255.0",
      "demo/b": "172.18.255.0",
      "demo/c": "172.18.255.1",
      "other/d": "172.18.255.2",
      "demo/e": "172.18.255.3",
    });
    assert.deepEqual(shown([small], [share("a", 80, "demo", across), share("d", 8080, "other", across)]), {
      "demo/a": "172.18.255.0",
      "other/d": "172.18.255.0",
    });
  });
  it("lets nobody share where one node could not answer for all, and says why an address asked for is not to be had", () => {
    const share = (name: string, port: number, spec: Service["spec"], ips?: string) =>
      service(name, {
        annotations: { "io.cilium/lb-ipam-sharing-key": "one", ...(ips === undefined ? {} : { "io.cilium/lb-ipam-ips": ips }) },
        spec: { ports: [{ port }], ...spec },
      });
    const local = (app: string) => ({ externalTrafficPolicy: "Local", selector: { app } });
    const services = [
      share("a", 80, {}),
      share("b", 81, local("x")),
      share("c", 82, local("x")),
      share("d", 83, local("y")),
      share("e", 84, {}),
    ];
    assert.deepEqual(shown([small], services), {
      "demo/a": "172.18.255.0",
      "demo/b": "172.18.255.1",
      "demo/c": "172.18.255.1",
      "demo/d": "172.18.255.2",
      "demo/e": "172.18.255.0",
    });
    const { services: assigned } = assignAddresses([small], [share("a", 80, {}), share("b", 81, local("x"), "172.18.255.0")]);
    assert.deepEqual(assigned.get("demo/b"), {
      ips: [],
      satisfied: false,
      reason: "already_allocated_incompatible_service",
      message: "172.18.255.0 is the address of a service it cannot share with: different externalTrafficPolicy",
    });
  });
  it("gives both families where both are wanted", () => {
    const six = pool("six", { blocks: [{ cidr: "2001:db8:1::/126" }], allowFirstLastIPs: "No" });
    assert.deepEqual(
      shown([small, six], [service("a", { spec: { ipFamilies: ["IPv4", "IPv6"] } }), service("b", { spec: { ipFamilies: ["IPv6"] } })]),
      {
        "demo/a": "172.18.255.0 2001:db8:1::1",
        "demo/b": "2001:db8:1::2",
      },
    );
  });
  it("leaves other implementations' services alone", () => {
    assert.deepEqual(
      shown([small], [service("a", { spec: { loadBalancerClass: "example.org/lb" } }), service("b", { spec: { type: "NodePort" } })]),
      {},
    );
  });
  it("counts, and tells of pools that overlap or cannot be read", () => {
    const { pools } = assignAddresses(
      [
        small,
        pool("twin", { blocks: [{ cidr: "172.18.255.0/31" }] }),
        pool("wrong", { blocks: [{ cidr: "everywhere" }] }),
        pool("reversed", { blocks: [{ start: "10.0.0.9", stop: "10.0.0.5" }] }),
      ],
      [service("a")],
    );
    const fix = "is no address range: give a cidr, or start and stop of one family, stop not below start";
    assert.deepEqual(
      [...pools].map(([name, { total, used, conflict }]) => [name, Number(total), Number(used), conflict?.reason, conflict?.message]),
      [
        ["reversed", 0, 0, "invalid_block", `block {"start":"10.0.0.9","stop":"10.0.0.5"} ${fix}`],
        ["small", 4, 1, undefined, undefined],
        ["twin", 2, 0, "cidr_overlap", "it has addresses of pool small"],
        ["wrong", 0, 0, "invalid_block", `block {"cidr":"everywhere"} ${fix}`],
      ],
    );
  });
});
