import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createHealth } from "#runtime/health.ts";
import { silentLogger } from "#runtime/logger.ts";
import { KubeError, pathKind } from "./client.ts";
import { createFakeCluster } from "./fake.ts";
import { runAsLeader } from "./leader.ts";
import { startReflector } from "./reflector.ts";
import { LEASES, NAMESPACES, PODS, pathOf } from "./resources.ts";
import { createStore } from "./store.ts";
import type { Namespace } from "./types.ts";

const log = silentLogger;

describe("pathOf", () => {
  it("builds the paths of core and named groups, of collections and objects", () => {
    assert.equal(pathOf(PODS), "/api/v1/pods");
    assert.equal(pathOf(PODS, { namespace: "a", name: "b" }, "status"), "/api/v1/namespaces/a/pods/b/status");
    assert.equal(pathOf(LEASES, { namespace: "a" }), "/apis/coordination.k8s.io/v1/namespaces/a/leases");
  });
});

describe("pathKind", () => {
  for (const [path, kind] of [
    ["/api/v1/pods?watch=1", "/api/v1/pods"],
    ["/api/v1/namespaces/a", "/api/v1/namespaces/{name}"],
    ["/api/v1/namespaces/a/pods/b/status", "/api/v1/namespaces/{namespace}/pods/{name}/status"],
    ["/apis/cilium.io/v2/ciliumnodes/n", "/apis/cilium.io/v2/ciliumnodes/{name}"],
    ["/apis/coordination.k8s.io/v1/namespaces/a/leases", "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"],
    ["/version", "/version"],
  ] as const) {
    it(`of ${path}`, () => assert.equal(pathKind(path), kind));
  }
});

function until(store: { readonly objects: ReadonlyMap<string, unknown> }, names: string[]): Promise<void> {
  return new Promise((resolve) => {
    const check = () => ([...store.objects.keys()].sort().join() === names.join() ? resolve() : setImmediate(check));
    check();
  });
}

describe("startReflector", () => {
  it("lists, then follows additions, changes and deletions", async () => {
    using cluster = createFakeCluster();
    await cluster.create(NAMESPACES, { metadata: { name: "a" } });
    const seen: string[] = [];
    const store = createStore<Namespace>((object, gone) => seen.push(`${object.metadata.name}${gone ? " gone" : ""}`));
    await using reflector = startReflector({ cluster, log }, NAMESPACES, {}, store);
    await reflector.synced;
    await cluster.create(NAMESPACES, { metadata: { name: "b" } });
    await cluster.delete(NAMESPACES, { name: "a" });
    await until(store, ["b"]);
    assert.deepEqual(seen, ["a", "b", "a gone"]);
  });

  it("lists again when the version is too old, and notices what vanished meanwhile", async () => {
    using cluster = createFakeCluster();
    await cluster.create(NAMESPACES, { metadata: { name: "a" } });
    cluster.failNext("WATCH", new KubeError(410, "Expired", "too old resource version"));
    const store = createStore<Namespace>();
    await using reflector = startReflector({ cluster, log }, NAMESPACES, {}, store);
    await reflector.synced;
    await cluster.delete(NAMESPACES, { name: "a" });
    await cluster.create(NAMESPACES, { metadata: { name: "c" } });
    await until(store, ["c"]);
  });

  it("goes on after the API server was away", async () => {
    using cluster = createFakeCluster();
    cluster.failNext("LIST", new KubeError(0, "Unreachable", "connection refused"), 2);
    const store = createStore<Namespace>();
    await using reflector = startReflector({ cluster, log }, NAMESPACES, {}, store);
    await reflector.synced;
    await cluster.create(NAMESPACES, { metadata: { name: "late" } });
    await until(store, ["late"]);
  });

  it("takes an optional kind that the server does not know for empty, until it is defined", async () => {
    using cluster = createFakeCluster();
    cluster.failNext("LIST", new KubeError(404, "NotFound", "the server could not find the requested resource"), 2);
    const store = createStore<Namespace>();
    await using reflector = startReflector({ cluster, log }, NAMESPACES, { optional: true }, store);
    await reflector.synced;
    assert.equal(store.objects.size, 0);
    await cluster.create(NAMESPACES, { metadata: { name: "defined" } });
    await until(store, ["defined"]);
  });

  it("goes on without an optional kind that it may not read, says so, and takes it when it may", async () => {
    using cluster = createFakeCluster();
    cluster.failNext("LIST", new KubeError(403, "Forbidden", 'namespaces is forbidden: User "cilium" cannot list'), 2);
    const [store, health] = [createStore<Namespace>(), createHealth()];
    await using reflector = startReflector({ cluster, log, health }, NAMESPACES, { optional: true }, store);
    await reflector.synced;
    assert.deepEqual([store.objects.size, health.list().map(({ name, level }) => `${name} ${level}`)], [0, ["k8s-namespaces degraded"]]);
    assert.match(
      health.list()[0]?.message ?? "",
      /may not list or watch namespaces, going on without them.*ClusterRole.*"cilium" cannot list/,
    );
    await cluster.create(NAMESPACES, { metadata: { name: "granted" } });
    await until(store, ["granted"]);
    assert.equal(health.list()[0]?.level, "ok");
  });

  it("waits for a needed kind that it may not read, and says so", async () => {
    using cluster = createFakeCluster();
    cluster.failNext("LIST", new KubeError(403, "Forbidden", "no"), 1);
    const [store, health] = [createStore<Namespace>(), createHealth()];
    await cluster.create(NAMESPACES, { metadata: { name: "there" } });
    await using reflector = startReflector({ cluster, log, health }, NAMESPACES, {}, store);
    await reflector.synced;
    assert.deepEqual([[...store.objects.keys()].length, health.list()[0]?.name], [1, "k8s-namespaces"]);
  });
});

describe("runAsLeader", () => {
  const options = { namespace: "kube-system", name: "lock", leaseSeconds: 15 };

  it("leads at once when nobody does, and gives the lease back", async () => {
    using cluster = createFakeCluster();
    let led = false;
    await runAsLeader({ cluster, log }, { ...options, identity: "one" }, new AbortController().signal, async () => {
      led = true;
    });
    assert.ok(led);
    assert.equal((await cluster.get(LEASES, options)).spec?.holderIdentity, "");
  });

  it("waits while another one holds the lease, and takes over when it has expired", async () => {
    using cluster = createFakeCluster();
    const spec = { holderIdentity: "other", leaseDurationSeconds: 15, renewTime: new Date().toISOString() };
    await cluster.create(LEASES, { metadata: { namespace: options.namespace, name: options.name }, spec });
    const led: string[] = [];
    const stop = new AbortController();
    const waiting = runAsLeader({ cluster, log }, { ...options, identity: "two" }, stop.signal, async () => void led.push("two"));
    stop.abort();
    await waiting;
    const later = () => Date.now() + 60_000;
    await runAsLeader(
      { cluster, log },
      { ...options, identity: "three", now: later },
      new AbortController().signal,
      async () => void led.push("three"),
    );
    assert.deepEqual(led, ["three"]);
  });
});
