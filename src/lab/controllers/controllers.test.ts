import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { startApiServer } from "#apiserver/apiserver.ts";
import { silentLogger } from "#runtime/logger.ts";
import type { Cluster } from "../cluster.ts";
import type { DaemonSet, Deployment, Pod, ReplicaSet } from "../objects.ts";
import { startDaemonSets } from "./daemon-set.ts";
import { startDeployments } from "./deployment.ts";
import { startEndpoints } from "./endpoints.ts";
import { startEndpointsMirror } from "./endpoints-mirror.ts";
import { startGarbageCollection } from "./garbage.ts";
import { startReplicaSets } from "./replica-set.ts";
import { startScheduler } from "./scheduler.ts";

async function withCluster(body: (cluster: Cluster) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "cilia-controllers-"));
  try {
    await using api = await startApiServer({ log: silentLogger }, { directory, listeners: [] });
    const deps = { cluster: api.client, log: silentLogger };
    using stack = new DisposableStack();
    const controllers = [startGarbageCollection, startReplicaSets, startDeployments, startDaemonSets, startScheduler];
    for (const start of [...controllers, startEndpoints, startEndpointsMirror]) stack.use(start(deps));
    await body(api.client);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const PATIENCE_MS = 5_000;

/** Until the condition holds. The controllers run on turns of the event loop; only retries after a conflict take time. */
async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; ) {
    if (condition()) return;
    await turn();
  }
  assert.fail(`never: ${condition}`);
}

const template = (image = "nginx") => ({
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "c", image, ports: [{ name: "http", containerPort: 80 }] }] },
});

function deployment(replicas: number, image?: string) {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "default" },
    spec: { replicas, selector: { matchLabels: { app: "web" } }, template: template(image) },
  };
}

function addNode(cluster: Cluster, name: string, taints: object[] = []): void {
  cluster.create("nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name } },
    spec: { taints },
  });
}

function pods(cluster: Cluster): readonly Pod[] {
  return cluster.list<Pod>("pods", { namespace: "default" }).items.filter((pod) => !pod.metadata.deletionTimestamp);
}

/** What a kubelet would do. */
function makeReady(cluster: Cluster): void {
  for (const [index, pod] of pods(cluster).entries()) {
    const conditions = [{ type: "Ready", status: "True" }];
    const ip = `10.244.1.${index + 10}`;
    cluster.update(
      "pods",
      { ...pod, status: { ...pod.status, phase: "Running", conditions, podIP: ip, podIPs: [{ ip }] } },
      { subresource: "status" },
    );
  }
}

function finishDeleted(cluster: Cluster): void {
  for (const { metadata } of cluster.list<Pod>("pods", { namespace: "default" }).items) {
    if (metadata.deletionTimestamp) cluster.delete("pods", metadata.name, metadata.namespace, { gracePeriodSeconds: 0 });
  }
}

describe("controllers", () => {
  it("bring a Deployment up over the nodes, and its Service gets the ready pods", async () => {
    await withCluster(async (cluster) => {
      addNode(cluster, "a");
      addNode(cluster, "b");
      addNode(cluster, "tainted", [{ key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" }]);
      cluster.create("deployments.apps", deployment(4));
      cluster.create("services", {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "web", namespace: "default" },
        spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
      });
      await until(() => pods(cluster).length === 4 && pods(cluster).every((pod) => pod.spec.nodeName));
      const placed = Map.groupBy(pods(cluster), (pod) => pod.spec.nodeName);
      assert.deepEqual([placed.get("a")?.length, placed.get("b")?.length, placed.get("tainted")], [2, 2, undefined]);
      makeReady(cluster);
      const status = () => cluster.get<Deployment>("deployments.apps", "web", "default")?.status;
      await until(() => status()?.availableReplicas === 4);
      assert.equal(status()?.conditions?.find(({ type }) => type === "Available")?.status, "True");
      const slices = () =>
        cluster.list<{ endpoints: object[]; ports: { port: number }[] }>("endpointslices.discovery.k8s.io", {
          labelSelector: "kubernetes.io/service-name=web",
        }).items;
      await until(() => slices()[0]?.endpoints.length === 4);
      assert.deepEqual(
        slices().map(({ ports }) => ports[0]?.port),
        [80],
      );
    });
  });

  it("hint for whom an endpoint is, as trafficDistribution asks", async () => {
    await withCluster(async (cluster) => {
      addNode(cluster, "a");
      cluster.create("deployments.apps", deployment(1));
      for (const trafficDistribution of ["PreferClose", "PreferSameNode"])
        cluster.create("services", {
          metadata: { name: trafficDistribution.toLowerCase(), namespace: "default" },
          spec: { selector: { app: "web" }, ports: [{ port: 80 }], trafficDistribution },
        });
      await until(() => pods(cluster).length === 1);
      makeReady(cluster);
      const hints = (service: string) =>
        cluster.list<{ endpoints: { hints?: object }[] }>("endpointslices.discovery.k8s.io", {
          labelSelector: `kubernetes.io/service-name=${service}`,
        }).items[0]?.endpoints[0]?.hints;
      await until(() => hints("preferclose") !== undefined && hints("prefersamenode") !== undefined);
      assert.deepEqual([hints("preferclose"), hints("prefersamenode")], [{}, { forNodes: [{ name: "a" }] }]);
    });
  });

  it("make slices of the Endpoints that somebody writes for a Service without a selector", async () => {
    await withCluster(async (cluster) => {
      const metadata = { name: "database", namespace: "default" };
      const slices = () =>
        cluster
          .list<{ addressType: string; endpoints: { addresses: string[]; conditions: object }[]; ports: object[] }>(
            "endpointslices.discovery.k8s.io",
            { labelSelector: "kubernetes.io/service-name=database" },
          )
          .items.map(({ addressType, endpoints, ports }) => ({
            addressType,
            endpoints: endpoints.map(({ addresses, conditions }) => ({ addresses, conditions })),
            ports,
          }));
      const ports = [{ name: "sql", port: 5432, protocol: "TCP" }];
      cluster.create("services", { metadata, spec: { ports: [{ name: "sql", port: 5432 }] } });
      cluster.create("endpoints", {
        metadata,
        subsets: [{ addresses: [{ ip: "192.0.2.1" }, { ip: "2001:db8::1" }], notReadyAddresses: [{ ip: "192.0.2.2" }], ports }],
      });
      await until(() => slices().length === 2);
      const of = (ip: string, ready: boolean) => ({ addresses: [ip], conditions: { ready } });
      assert.deepEqual(
        slices().toSorted((a, b) => a.addressType.localeCompare(b.addressType)),
        [
          { addressType: "IPv4", endpoints: [of("192.0.2.1", true), of("192.0.2.2", false)], ports },
          { addressType: "IPv6", endpoints: [of("2001:db8::1", true)], ports },
        ],
      );
      cluster.patch("endpoints", "database", "default", { subsets: [{ addresses: [{ ip: "192.0.2.3" }], ports }] });
      await until(() => slices().length === 1);
      assert.deepEqual(slices()[0]?.endpoints, [of("192.0.2.3", true)]);
      cluster.patch("services", "database", "default", { spec: { selector: { app: "database" } } });
      await until(() => slices().every(({ endpoints }) => endpoints.length === 0));
    });
  });

  it("spread the pods of a namespace, also over a node that already has others", async () => {
    await withCluster(async (cluster) => {
      addNode(cluster, "a");
      addNode(cluster, "b");
      const onB = { ...template().spec, nodeName: "b" };
      for (const name of ["x", "y", "z"]) cluster.create("pods", { metadata: { name, namespace: "kube-system" }, spec: onB });
      for (const name of ["frontend", "backend"])
        cluster.create("pods", { metadata: { name, namespace: "default" }, spec: template().spec });
      await until(() => pods(cluster).length === 2 && pods(cluster).every((pod) => pod.spec.nodeName));
      assert.deepEqual(new Set(pods(cluster).map((pod) => pod.spec.nodeName)), new Set(["a", "b"]));
    });
  });

  it("roll a new template out without losing availability", async () => {
    await withCluster(async (cluster) => {
      addNode(cluster, "a");
      cluster.create("deployments.apps", deployment(4));
      await until(() => pods(cluster).length === 4);
      makeReady(cluster);
      await until(() => cluster.get<Deployment>("deployments.apps", "web", "default")?.status?.readyReplicas === 4);
      cluster.patch("deployments.apps", "web", "default", { spec: { template: template("httpd") } });
      const sets = () => cluster.list<ReplicaSet>("replicasets.apps", { namespace: "default" }).items;
      await until(() => sets().length === 2);
      const images = () => pods(cluster).map((pod) => pod.spec.containers[0]?.image);
      for (const deadline = Date.now() + PATIENCE_MS; images().includes("nginx") && Date.now() < deadline; ) {
        const ready = pods(cluster).filter((pod) =>
          pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
        ).length;
        assert.ok(ready >= 3, `only ${ready} ready`);
        makeReady(cluster);
        finishDeleted(cluster);
        for (let count = 0; count < 30; count++) await turn();
      }
      assert.deepEqual(images(), Array(4).fill("httpd"));
    });
  });

  it("run a DaemonSet on every node that it tolerates, new ones too", async () => {
    await withCluster(async (cluster) => {
      addNode(cluster, "a");
      addNode(cluster, "b", [{ key: "gpu", effect: "NoSchedule" }]);
      cluster.create("daemonsets.apps", {
        apiVersion: "apps/v1",
        kind: "DaemonSet",
        metadata: { name: "agent", namespace: "default" },
        spec: { selector: { matchLabels: { app: "web" } }, template: template() },
      });
      await until(() => pods(cluster).length === 1);
      addNode(cluster, "c");
      await until(() => pods(cluster).length === 2);
      assert.deepEqual(
        pods(cluster)
          .map((pod) => pod.spec.nodeName)
          .toSorted(),
        ["a", "c"],
      );
      assert.equal(cluster.get<DaemonSet>("daemonsets.apps", "agent", "default")?.status?.desiredNumberScheduled, 2);
    });
  });

  it("delete what a deleted Deployment owned", async () => {
    await withCluster(async (cluster) => {
      addNode(cluster, "a");
      cluster.create("deployments.apps", deployment(2));
      await until(() => pods(cluster).length === 2);
      cluster.delete("deployments.apps", "web", "default", { propagationPolicy: "Background" });
      await until(() => cluster.list("replicasets.apps").items.length === 0 && pods(cluster).length === 0);
    });
  });
});
