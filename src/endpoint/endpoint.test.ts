import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { labelSet } from "#labels/label-set.ts";
import { IpAddress } from "#types/addr.ts";
import { EndpointId } from "#types/endpoint-id.ts";
import { NumericIdentity } from "#types/identity.ts";
import { parseMac } from "#types/mac.ts";
import { type Endpoint, subjectKey } from "./endpoint.ts";
import { labelsOfPod, podView } from "./labels.ts";
import { forgetEndpoint, loadEndpoints, saveEndpoint } from "./restore.ts";

const mac = parseMac("02:00:00:00:00:01") ?? assert.fail();

const endpoint: Endpoint = {
  id: EndpointId(7),
  containerId: "c1",
  pod: { namespace: "default", name: "web", uid: "u" },
  interface: { name: "lxc1", index: 9, hostMac: mac, mac, ifname: "eth0", netns: "/run/netns/x" },
  ipv4: IpAddress("10.0.0.7"),
  ipv6: undefined,
  labels: labelSet(["k8s:app=web"]),
  identity: NumericIdentity(300),
  state: "ready",
  namedPorts: [{ name: "http", protocol: 6, port: 80 }],
  serviceAccount: "default",
  auditMode: false,
  regeneration: 3,
  createdAt: "2026-01-01T00:00:00Z",
};

function inDirectory(test: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "endpoint-"));
  try {
    test(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("the state directory", () => {
  it("gives an endpoint back as it was, to be restored", () => {
    inDirectory((directory) => {
      saveEndpoint(directory, endpoint);
      const { endpoints, broken } = loadEndpoints(directory);
      assert.deepEqual(broken, []);
      const { labels, ...rest } = endpoints[0] ?? assert.fail();
      assert.equal(labels.key, endpoint.labels.key);
      const { labels: _, ...expected } = endpoint;
      assert.deepEqual(rest, { ...expected, state: "restoring", regeneration: 0 });
      forgetEndpoint(directory, endpoint.id);
      assert.deepEqual(loadEndpoints(directory).endpoints, []);
    });
  });
  it("trusts no file that was cut or changed, wherever", () => {
    inDirectory((directory) => {
      saveEndpoint(directory, endpoint);
      const path = join(directory, "7", "endpoint.json");
      const text = readFileSync(path, "utf8");
      for (let length = 0; length < text.length - 1; length += 7) {
        writeFileSync(path, text.slice(0, length));
        assert.deepEqual(loadEndpoints(directory).endpoints, [], `cut at ${length}`);
      }
      for (const [from, to] of [
        ['"id":7', '"id":8'],
        ["10.0.0.7", "10.0.0.777"],
        ["02:00", "zz:00"],
        ['"index":9', '"index":"9"'],
      ] as const) {
        writeFileSync(path, text.replace(from, to));
        assert.equal(loadEndpoints(directory).broken.length, 1, to);
      }
      mkdirSync(join(directory, "8"));
      assert.equal(loadEndpoints(directory).broken.length, 2);
    });
  });
});

describe("labelsOfPod", () => {
  it("makes the identity of pod, namespace, service account and cluster; a pod cannot pretend to be elsewhere", () => {
    const view = podView({
      metadata: {
        name: "web",
        namespace: "shop",
        labels: { app: "web", "pod-template-hash": "x", "io.kubernetes.pod.namespace": "kube-system" },
      },
      spec: { serviceAccountName: "sa", containers: [{ ports: [{ name: "http", containerPort: 80 }, { containerPort: 81 }] }] },
    });
    assert.deepEqual(view.namedPorts, [{ name: "http", protocol: 6, port: 80 }]);
    assert.deepEqual(labelsOfPod(view, { team: "a" }, { cluster: "c", filter: undefined }).texts, [
      "k8s:app=web",
      "k8s:io.cilium.k8s.namespace.labels.team=a",
      "k8s:io.cilium.k8s.policy.cluster=c",
      "k8s:io.cilium.k8s.policy.serviceaccount=sa",
      "k8s:io.kubernetes.pod.namespace=shop",
    ]);
  });
});

describe("subjectKey", () => {
  it("tells endpoints apart whose named ports differ", () => {
    assert.equal(subjectKey(endpoint), subjectKey({ ...endpoint }));
    assert.notEqual(subjectKey(endpoint), subjectKey({ ...endpoint, namedPorts: [] }));
    assert.notEqual(subjectKey(endpoint), subjectKey({ ...endpoint, identity: NumericIdentity(301) }));
  });
});
