import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RecordType } from "dns-packet";
import { createZone } from "./zone.ts";

function exampleZone() {
  const zone = createZone("cluster.local");
  zone.setServices([
    {
      metadata: { name: "web", namespace: "demo" },
      spec: { clusterIP: "10.96.1.2", ports: [{ name: "http", port: 80, protocol: "TCP" }] },
    },
    { metadata: { name: "db", namespace: "demo" }, spec: { clusterIP: "None", ports: [{ name: "pg", port: 5432 }] } },
    { metadata: { name: "out", namespace: "demo" }, spec: { type: "ExternalName", externalName: "api.example.com" } },
  ]);
  zone.setSlices([
    {
      metadata: { name: "db-x", namespace: "demo", labels: { "kubernetes.io/service-name": "db" } },
      endpoints: [
        { addresses: ["10.244.1.7"], hostname: "db-0", conditions: { ready: true } },
        { addresses: ["10.244.1.8"], conditions: { ready: true } },
        { addresses: ["10.244.1.9"], conditions: { ready: false } },
      ],
    },
  ]);
  return zone;
}

function ask(name: string, type: RecordType = "A") {
  const answer = exampleZone().resolve({ name, type });
  return answer && { exists: answer.exists, data: answer.answers.map((one) => ("data" in one ? one.data : undefined)) };
}

describe("the cluster's zone", () => {
  const cases: readonly (readonly [name: string, type: RecordType, exists: boolean, data: readonly unknown[]])[] = [
    ["web.demo.svc.cluster.local", "A", true, ["10.96.1.2"]],
    ["WEB.demo.svc.Cluster.Local", "A", true, ["10.96.1.2"]],
    ["web.demo.svc.cluster.local", "AAAA", true, []],
    ["web.other.svc.cluster.local", "A", false, []],
    ["demo.svc.cluster.local", "A", true, []],
    ["nowhere.svc.cluster.local", "A", false, []],
    ["db.demo.svc.cluster.local", "A", true, ["10.244.1.7", "10.244.1.8"]],
    ["db-0.db.demo.svc.cluster.local", "A", true, ["10.244.1.7"]],
    ["10-244-1-8.db.demo.svc.cluster.local", "A", true, ["10.244.1.8"]],
    ["10-244-1-9.db.demo.svc.cluster.local", "A", false, []],
    ["_http._tcp.web.demo.svc.cluster.local", "SRV", true, [{ priority: 0, weight: 100, port: 80, target: "web.demo.svc.cluster.local" }]],
    ["_http._udp.web.demo.svc.cluster.local", "SRV", false, []],
    [
      "_pg._tcp.db.demo.svc.cluster.local",
      "SRV",
      true,
      [
        { priority: 0, weight: 100, port: 5432, target: "db-0.db.demo.svc.cluster.local" },
        { priority: 0, weight: 100, port: 5432, target: "10-244-1-8.db.demo.svc.cluster.local" },
      ],
    ],
    ["2.1.96.10.in-addr.arpa", "PTR", true, ["web.demo.svc.cluster.local"]],
    ["7.1.244.10.in-addr.arpa", "PTR", true, ["db-0.db.demo.svc.cluster.local"]],
    ["10-244-1-7.demo.pod.cluster.local", "A", true, ["10.244.1.7"]],
    ["hello.demo.pod.cluster.local", "A", false, []],
    ["out.demo.svc.cluster.local", "A", true, ["api.example.com"]],
    ["cluster.local", "A", true, []],
  ];
  for (const [name, type, exists, data] of cases) {
    it(`${type} ${name}`, () => assert.deepEqual(ask(name, type), { exists, data }));
  }

  it("leaves other names to other servers", () => {
    assert.equal(ask("www.example.org"), undefined);
    assert.equal(ask("1.2.0.192.in-addr.arpa", "PTR"), undefined);
    assert.equal(ask("notcluster.local"), undefined);
  });
});
