import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SERVICE_NAME_LABEL, type SliceInput } from "./backends.ts";
import { serviceIndex } from "./names.ts";
import { backendsFor, loadBalance } from "./select.ts";
import type { ServiceInput } from "./service.ts";
import { formatL4Address } from "./types.ts";

const web: ServiceInput = {
  metadata: { namespace: "demo", name: "web" },
  spec: { clusterIPs: ["10.96.7.7"], ports: [{ name: "http", port: 80, protocol: "TCP" }] },
};

function slice(name: string, endpoints: SliceInput["endpoints"], port = 8080, service = "web"): SliceInput {
  const metadata = { namespace: "demo", name, labels: { [SERVICE_NAME_LABEL]: service } };
  return { metadata, addressType: "IPv4", endpoints: endpoints ?? [], ports: [{ name: "http", port, protocol: "TCP" }] };
}

function shown(services: ServiceInput[], slices: SliceInput[]): string[] {
  return loadBalance(services, slices).map(
    ({ type, address, backends }) =>
      `${type} ${formatL4Address(address)} => ${backends.map((b) => `${b.address.ip}:${b.address.port} ${b.state}`).join(", ")}`,
  );
}

describe("loadBalance", () => {
  it("joins a service with the endpoints of its slices, at their target port", () => {
    assert.deepEqual(shown([web], [slice("a", [{ addresses: ["10.244.1.5"] }])]), ["ClusterIP 10.96.7.7:80/TCP => 10.244.1.5:8080 active"]);
  });
  it("counts an address once, in its best state, when slices overlap", () => {
    const draining = slice("a", [{ addresses: ["10.244.1.5"], conditions: { ready: false, serving: true, terminating: true } }]);
    const ready = slice("b", [{ addresses: ["10.244.1.5"], conditions: { ready: true } }]);
    assert.deepEqual(shown([web], [draining, ready]), ["ClusterIP 10.96.7.7:80/TCP => 10.244.1.5:8080 active"]);
  });
  it("keeps a frontend without backends, so that connections are refused and not lost", () => {
    assert.deepEqual(shown([web], []), ["ClusterIP 10.96.7.7:80/TCP => "]);
  });
  it("ignores headless services, other services' slices and other address families", () => {
    const headless: ServiceInput = {
      metadata: { namespace: "demo", name: "db" },
      spec: { clusterIP: "None", clusterIPs: ["None"], ports: [{ port: 5432 }] },
    };
    const v6: SliceInput = { ...slice("six", [{ addresses: ["fd00::5"] }]), addressType: "IPv6" };
    assert.deepEqual(shown([headless, web], [v6, slice("x", [{ addresses: ["10.244.9.9"] }], 1, "other")]), [
      "ClusterIP 10.96.7.7:80/TCP => ",
    ]);
  });
  it("knows all addresses of a load balancer service", () => {
    const service: ServiceInput = {
      ...web,
      spec: { ...web.spec, type: "LoadBalancer", externalIPs: ["198.51.100.7"], ports: [{ name: "http", port: 80, nodePort: 31080 }] },
      status: { loadBalancer: { ingress: [{ ip: "198.51.100.9" }] } },
    };
    assert.deepEqual(shown([service], []), [
      "ClusterIP 10.96.7.7:80/TCP => ",
      "NodePort 0.0.0.0:31080/TCP => ",
      "LoadBalancer 198.51.100.9:80/TCP => ",
      "ExternalIPs 198.51.100.7:80/TCP => ",
    ]);
  });
});

describe("backendsFor", () => {
  const draining = { addresses: ["10.244.1.5"], nodeName: "a", conditions: { ready: false, serving: true, terminating: true } };
  it("uses terminating backends only when there is no active one", () => {
    const [alone] = loadBalance([web], [slice("a", [draining])]);
    const [both] = loadBalance([web], [slice("a", [draining, { addresses: ["10.244.1.6"], nodeName: "b" }])]);
    assert.ok(alone && both);
    assert.deepEqual(
      backendsFor(alone, "a").map((b) => b.address.ip),
      ["10.244.1.5"],
    );
    assert.deepEqual(
      backendsFor(both, "a").map((b) => b.address.ip),
      ["10.244.1.6"],
    );
  });
  it("stays on the node with traffic policy Local", () => {
    const local = { ...web, spec: { ...web.spec, internalTrafficPolicy: "Local" } };
    const [frontend] = loadBalance(
      [local],
      [
        slice("a", [
          { addresses: ["10.244.1.5"], nodeName: "a" },
          { addresses: ["10.244.2.5"], nodeName: "b" },
        ]),
      ],
    );
    assert.ok(frontend);
    assert.deepEqual(
      backendsFor(frontend, "b").map((b) => b.address.ip),
      ["10.244.2.5"],
    );
  });
});

describe("serviceIndex", () => {
  it("finds the service of an address", () => {
    const index = serviceIndex(loadBalance([web], []));
    assert.deepEqual(index.byAddress({ ip: "10.96.7.7", port: 80, protocol: "TCP" }), { namespace: "demo", name: "web" });
    assert.equal(index.byAddress({ ip: "10.96.7.7", port: 81, protocol: "TCP" }), undefined);
  });
});
