import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LocalClient } from "../client.ts";
import type { ApiError } from "../errors.ts";
import { deploymentNamed, podNamed, startTestServer } from "../fixture.ts";
import { at, type KubeObject } from "../object.ts";
import { parseRange, toAddress, toNumber } from "./ranges.ts";

async function withClient(body: (client: LocalClient) => void): Promise<void> {
  await using server = await startTestServer({ serviceCidr: "10.96.0.0/16", serviceCidrV6: "fd00:10:96::/112" });
  body(server.api.client);
}

const service = (name: string, spec: object) => ({ metadata: { name, namespace: "default" }, spec: { ports: [{ port: 80 }], ...spec } });
const spec = (object: KubeObject | undefined) => object?.spec as Record<string, unknown>;
const refuses = (action: () => unknown, status: number, message: RegExp) =>
  assert.throws(action, (thrown: ApiError) => thrown.httpStatus === status && message.test(thrown.message));

describe("service admission", () => {
  it("gives addresses of the range, each once, and keeps them on update", () =>
    withClient((client) => {
      const one = client.create("services", service("one", {}));
      const two = client.create("services", service("two", {}));
      assert.match(String(spec(one).clusterIP), /^10\.96\./);
      assert.notEqual(spec(one).clusterIP, spec(two).clusterIP);
      const updated = client.update("services", service("one", { selector: { a: "b" } }));
      assert.equal(spec(updated).clusterIP, spec(one).clusterIP);
      assert.deepEqual(spec(updated).ports, [{ port: 80, protocol: "TCP", targetPort: 80 }]);
    }));

  it("refuses an address that is taken, outside of the range, or changed", () =>
    withClient((client) => {
      client.create("services", service("one", { clusterIP: "10.96.0.10" }));
      refuses(() => client.create("services", service("two", { clusterIP: "10.96.0.10" })), 422, /already allocated/);
      refuses(() => client.create("services", service("two", { clusterIP: "192.0.2.1" })), 422, /not in the valid range/);
      refuses(() => client.update("services", service("one", { clusterIP: "10.96.0.11" })), 422, /may not change once set/);
    }));

  it("gives what a service no longer has to others", () =>
    withClient((client) => {
      const np = { type: "NodePort", clusterIP: "10.96.0.10", ports: [{ port: 80, nodePort: 31_000 }] };
      client.create("services", service("one", np));
      refuses(() => client.create("services", service("two", { type: "NodePort", ports: np.ports })), 422, /already allocated/);
      client.update("services", service("one", { type: "ClusterIP" }));
      client.create("services", service("two", { type: "NodePort", ports: np.ports }));
      refuses(() => client.create("services", service("three", { clusterIP: np.clusterIP })), 422, /already allocated/);
      client.delete("services", "one", "default");
      client.create("services", service("three", { clusterIP: np.clusterIP }));
    }));

  it("knows headless, external and dual-stack services", () =>
    withClient((client) => {
      assert.deepEqual(spec(client.create("services", service("headless", { clusterIP: "None" }))).clusterIPs, ["None"]);
      const external = client.create("services", {
        metadata: { name: "external", namespace: "default" },
        spec: { type: "ExternalName", externalName: "a.b" },
      });
      assert.equal(spec(external).clusterIP, undefined);
      const dual = spec(client.create("services", service("dual", { ipFamilyPolicy: "PreferDualStack" })));
      assert.deepEqual(dual.ipFamilies, ["IPv4", "IPv6"]);
      assert.match(String(at(dual, "clusterIPs", "1") ?? (dual.clusterIPs as string[])[1]), /^fd00:10:96::/);
    }));

  it("gives a port for health checks where external traffic stays on the node", () =>
    withClient((client) => {
      const local = { type: "LoadBalancer", externalTrafficPolicy: "Local" };
      const given = spec(client.create("services", service("lb", local))).healthCheckNodePort;
      assert.ok(Number(given) >= 30_000 && Number(given) <= 32_767);
      assert.equal(spec(client.update("services", service("lb", { ...local, sessionAffinity: "ClientIP" }))).healthCheckNodePort, given);
      refuses(() => client.create("services", service("two", { ...local, healthCheckNodePort: given })), 422, /already allocated/);
      refuses(
        () => client.create("services", service("two", { type: "NodePort", ports: [{ port: 1, nodePort: given }] })),
        422,
        /already allocated/,
      );
      refuses(() => client.create("services", service("two", { healthCheckNodePort: 30_999 })), 422, /may only be set when/);
      assert.equal(spec(client.update("services", service("lb", { type: "LoadBalancer" }))).healthCheckNodePort, undefined);
    }));

  it("gives one node port number to TCP and UDP", () =>
    withClient((client) => {
      const ports = [
        { name: "udp", port: 53, protocol: "UDP" },
        { name: "tcp", port: 53, protocol: "TCP" },
      ];
      const given = spec(client.create("services", service("dns", { type: "NodePort", ports }))).ports as { nodePort: number }[];
      assert.equal(given[0]?.nodePort, given[1]?.nodePort);
    }));

  it("refuses policies, addresses and ranges that are none", () =>
    withClient((client) => {
      const refused = (field: object, message: RegExp) => refuses(() => client.create("services", service("x", field)), 422, message);
      refused({ internalTrafficPolicy: "Sometimes" }, /spec.internalTrafficPolicy: Unsupported value/);
      refused({ externalIPs: ["somewhere"] }, /spec.externalIPs\[0\]: Invalid value/);
      refused(
        { externalIPs: ["198.51.100.1", "127.0.0.1"] },
        /spec.externalIPs\[1\]: Invalid value: "127.0.0.1": may not be in the loopback/,
      );
      refused({ type: "LoadBalancer", loadBalancerSourceRanges: ["all"] }, /spec.loadBalancerSourceRanges\[0\]: Invalid value/);
      const affinity = { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 90_000 } } };
      refused(affinity, /must be greater than 0 and less than 86400/);
    }));

  it("gives node ports and takes them back", () =>
    withClient((client) => {
      const port = (object: KubeObject) => (spec(object).ports as { nodePort?: number }[])[0]?.nodePort;
      const nodePort = port(client.create("services", service("np", { type: "NodePort" })));
      assert.ok(nodePort && nodePort >= 30_000 && nodePort <= 32_767);
      assert.equal(port(client.update("services", service("np", { type: "NodePort", sessionAffinity: "ClientIP" }))), nodePort);
      refuses(
        () => client.create("services", service("two", { type: "NodePort", ports: [{ port: 1, nodePort }] })),
        422,
        /already allocated/,
      );
      assert.equal(port(client.update("services", service("np", { type: "ClusterIP" }))), undefined);
    }));

  it("drops what a new type does not need, unless it was changed with it", () =>
    withClient((client) => {
      const local = { type: "LoadBalancer", externalTrafficPolicy: "Local", loadBalancerClass: "example.org/lb" };
      const lb = spec(client.create("services", service("lb", local)));
      const [given] = lb.ports as { nodePort: number }[];
      const withPort = (nodePort: number) => ({ ...lb, type: "ClusterIP", ports: [{ port: 80, nodePort }] });
      refuses(
        () => client.update("services", service("lb", withPort(Number(given?.nodePort) === 32_000 ? 32_001 : 32_000))),
        422,
        /spec.ports\[0\].nodePort: Forbidden/,
      );
      const patched = spec(client.update("services", service("lb", { ...lb, type: "ClusterIP" })));
      assert.equal(patched.clusterIP, lb.clusterIP);
      assert.deepEqual(patched.ports, [{ port: 80, protocol: "TCP", targetPort: 80 }]);
      for (const field of ["healthCheckNodePort", "externalTrafficPolicy", "loadBalancerClass", "allocateLoadBalancerNodePorts"])
        assert.ok(!(field in patched), field);
      refuses(() => client.create("services", service("new", withPort(32_000))), 422, /spec.ports\[0\].nodePort: Forbidden/);

      const np = spec(client.create("services", service("np", { type: "NodePort" })));
      const external = spec(client.update("services", service("np", { ...np, type: "ExternalName", externalName: "a.b" })));
      assert.deepEqual([external.clusterIP, external.clusterIPs, external.ipFamilies], [undefined, undefined, undefined]);
      assert.equal((external.ports as { nodePort?: number }[])[0]?.nodePort, undefined);
    }));

  it("names every port of several", () =>
    withClient((client) =>
      refuses(
        () => client.create("services", service("s", { ports: [{ port: 1 }, { port: 2 }] })),
        422,
        /spec.ports\[0\].name: Required value/,
      ),
    ));
});

describe("endpoint slice admission", () => {
  const SLICES = "endpointslices.discovery.k8s.io";
  const slice = (more: object) => ({
    metadata: { name: "s", namespace: "default" },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.1.5"] }],
    ports: [{ name: "http", port: 80 }],
    ...more,
  });
  const at = (...addresses: string[]) => ({ endpoints: [{ addresses }] });

  it("takes what kube-apiserver takes, port numbers that are none among it", () =>
    withClient((client) => {
      client.create(SLICES, slice({ ports: [{ port: 70_000 }], metadata: { name: "a", namespace: "default" } }));
      client.create(SLICES, slice({ ...at("239.1.1.1"), metadata: { name: "b", namespace: "default" } }));
      client.create(SLICES, slice({ addressType: "FQDN", ...at("db.example.com"), metadata: { name: "c", namespace: "default" } }));
      client.create(SLICES, slice({ endpoints: [], ports: null, metadata: { name: "d", namespace: "default" } }));
      refuses(
        () => client.update(SLICES, slice({ addressType: "IPv6", ...at("fd00::1"), metadata: { name: "a", namespace: "default" } })),
        422,
        /addressType: .*immutable/,
      );
    }));

  for (const [what, more, message] of [
    ["no type", { addressType: "" }, /addressType: Required value/],
    ["another type", { addressType: "IP" }, /addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"/],
    ["no address", at(), /endpoints\[0\].addresses: Required value: must contain at least 1 address/],
    [
      "text for an address",
      at("10.0.0.1", "somewhere"),
      /endpoints\[0\].addresses\[1\]: Invalid value: "somewhere": must be a valid IPv4 address/,
    ],
    ["the other family", at("fd00::1"), /must be a valid IPv4 address/],
    ["loopback", at("127.0.0.1"), /may not be in the loopback range/],
    ["loopback of IPv6", { addressType: "IPv6", ...at("::1") }, /may not be in the loopback range/],
    ["mapped loopback", { addressType: "IPv6", ...at("::ffff:127.0.0.1") }, /may not be in the loopback range/],
    ["metadata services", at("169.254.169.254"), /may not be in the link-local range/],
    ["link-local IPv6", { addressType: "IPv6", ...at("fe80::1") }, /may not be in the link-local range/],
    ["no address in particular", at("0.0.0.0"), /may not be unspecified/],
    ["link-local multicast", at("224.0.0.1"), /may not be in the link-local multicast range/],
    ["a host for a domain", { addressType: "FQDN", ...at("db") }, /should be a domain with at least two segments/],
    [
      "one port name twice",
      {
        ports: [
          { name: "a", port: 1 },
          { name: "a", port: 2 },
        ],
      },
      /ports\[1\].name: Duplicate value/,
    ],
    ["a protocol that is none", { ports: [{ name: "a", port: 1, protocol: "ICMP" }] }, /ports\[0\].protocol: Unsupported value/],
    ["too many endpoints", { endpoints: Array.from({ length: 1001 }, () => ({ addresses: ["10.0.0.1"] })) }, /endpoints: Too many: 1001/],
  ] as const)
    it(`refuses ${what}`, () => withClient((client) => refuses(() => client.create(SLICES, slice(more)), 422, message)));
});

describe("pod admission", () => {
  it("sets what the author left out", () =>
    withClient((client) => {
      const pod = spec(client.create("pods", podNamed("p")));
      assert.equal(pod.restartPolicy, "Always");
      assert.equal(pod.serviceAccountName, "default");
      assert.equal((pod.tolerations as unknown[]).length, 2);
      const [container] = pod.containers as { imagePullPolicy: string; volumeMounts: { mountPath: string }[] }[];
      assert.equal(container?.imagePullPolicy, "IfNotPresent");
      assert.equal(container?.volumeMounts[0]?.mountPath, "/var/run/secrets/kubernetes.io/serviceaccount");
      assert.deepEqual(client.get<KubeObject>("pods", "p", "default")?.status, { phase: "Pending", qosClass: "BestEffort" });
    }));

  it("refuses changes of a pod except of its image", () =>
    withClient((client) => {
      client.create("pods", podNamed("p"));
      client.patch("pods", "p", "default", { spec: { containers: [{ name: "main", image: "nginx:2" }] } }, { type: "strategic" });
      refuses(() => client.patch("pods", "p", "default", { spec: { hostNetwork: true } }), 422, /pod updates may not change fields/);
    }));

  const wrong: readonly [title: string, spec: object, message: RegExp][] = [
    ["without containers", { containers: [] }, /spec.containers: Required value/],
    ["without the field, said once", { restartPolicy: "Never" }, /is invalid: spec.containers: Required value$/],
    ["with a bad name", { containers: [{ name: "A_b", image: "x" }] }, /RFC 1123 label/],
    ["without image", { containers: [{ name: "a" }] }, /spec.containers\[0\].image: Required value/],
    [
      "with two of one name",
      {
        containers: [
          { name: "a", image: "x" },
          { name: "a", image: "x" },
        ],
      },
      /Duplicate value/,
    ],
    [
      "with a mount of nothing",
      { containers: [{ name: "a", image: "x", volumeMounts: [{ name: "v", mountPath: "/v" }] }] },
      /Not found: "v"/,
    ],
    ["with a strange restart policy", { containers: [{ name: "a", image: "x" }], restartPolicy: "Maybe" }, /Unsupported value: "Maybe"/],
    [
      "with an impossible port",
      { containers: [{ name: "a", image: "x", ports: [{ containerPort: 70000 }] }] },
      /must be between 1 and 65535/,
    ],
    [
      "with an unknown account",
      { containers: [{ name: "a", image: "x" }], serviceAccountName: "nobody" },
      /serviceaccount "nobody" not found/,
    ],
  ];
  for (const [title, podSpec, message] of wrong) {
    it(`refuses a pod ${title}`, () =>
      withClient((client) =>
        refuses(() => client.create("pods", { metadata: { name: "p", namespace: "default" }, spec: podSpec }), 422, message),
      ));
  }
});

describe("workload admission", () => {
  it("sets a deployment's defaults", () =>
    withClient((client) => {
      const deployment = spec(client.create("deployments.apps", deploymentNamed("web")));
      assert.equal(deployment.replicas, 1);
      assert.deepEqual(deployment.strategy, { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } });
    }));

  it("refuses a selector that does not match, and a changed one", () =>
    withClient((client) => {
      const wrong = deploymentNamed("web");
      wrong.spec.selector.matchLabels.app = "other";
      refuses(() => client.create("deployments.apps", wrong), 422, /`selector` does not match template `labels`/);
      client.create("deployments.apps", deploymentNamed("web"));
      refuses(() => client.update("deployments.apps", wrong), 422, /immutable|does not match/);
    }));

  it("labels a job's pods with its uid", () =>
    withClient((client) => {
      const template = { spec: { restartPolicy: "Never", containers: [{ name: "a", image: "x" }] } };
      const job = client.create("jobs.batch", { metadata: { name: "j", namespace: "default" }, spec: { template } });
      assert.deepEqual(at(job, "spec", "selector", "matchLabels"), { "batch.kubernetes.io/controller-uid": job.metadata.uid });
    }));

  it("refuses of NetworkPolicies what kube-apiserver refuses", () =>
    withClient((client) => {
      const create = (rest: object) =>
        client.create("networkpolicies.networking.k8s.io", {
          metadata: { name: "p", namespace: "default" },
          spec: { podSelector: {}, ...rest },
        });
      const ports = (port: object) => ({ egress: [{ ports: [port] }] });
      refuses(() => create({ policyTypes: ["egress"] }), 422, /policyTypes\[0\].*supported values: "Egress", "Ingress"/);
      refuses(() => create(ports({ protocol: "tcp", port: 80 })), 422, /protocol.*supported values: "SCTP", "TCP", "UDP"/);
      refuses(() => create(ports({ port: 90, endPort: 80 })), 422, /endPort.*greater than or equal to `port`/);
      refuses(() => create(ports({ endPort: 80 })), 422, /`port` is not specified/);
      refuses(() => create({ ingress: [{ from: [{}] }] }), 422, /from\[0\].*[Rr]equired/);
      refuses(() => create({ ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/8"] } }] }] }), 422, /strict subset/);
      create({ ...ports({ port: 80, endPort: 90 }), ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }] }] });
    }));

  it("moves a secret's stringData into data", () =>
    withClient((client) => {
      const secret = client.create("secrets", { metadata: { name: "s", namespace: "default" }, stringData: { a: "b" } });
      assert.deepEqual([secret.data, secret.stringData, secret.type], [{ a: "Yg==" }, undefined, "Opaque"]);
    }));
});

describe("address ranges", () => {
  const pairs = ["10.96.0.1", "255.255.255.255", "::", "::1", "fd00:10:96::a", "1:0:0:2::3", "1:2:3:4:5:6:7:8"];
  for (const text of pairs) it(`reads and writes ${text}`, () => assert.equal(toAddress(toNumber(text), text.includes(":") ? 6 : 4), text));
  it("refuses what is no range", () => assert.throws(() => parseRange("10.0.0.0"), /is not an address range/));
});
