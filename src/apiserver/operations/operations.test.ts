import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { silentLogger } from "#runtime/logger.ts";
import { startApiServer } from "../apiserver.ts";
import type { LocalClient, WatchEvent } from "../client.ts";
import type { ApiError } from "../errors.ts";
import { podNamed, startTestServer } from "../fixture.ts";
import { type KubeObject, timestamp } from "../object.ts";

async function withClient(body: (client: LocalClient) => void | Promise<void>): Promise<void> {
  await using server = await startTestServer();
  await body(server.api.client);
}

const refuses = (action: () => unknown, status: number, message: RegExp) =>
  assert.throws(action, (thrown: ApiError) => thrown.httpStatus === status && message.test(thrown.message));

const configMap = (name: string, more: object = {}) => ({ metadata: { name, namespace: "default", ...more } });

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 5_000; performance.now() < deadline && !condition(); ) await turn();
  assert.ok(condition(), "the condition never held");
}

describe("objects", () => {
  it("get uid, time and generation; a generated name has five more letters", () =>
    withClient((client) => {
      const { metadata } = client.create("configmaps", { metadata: { generateName: "c-", namespace: "default" } });
      assert.match(metadata.name, /^c-[a-z0-9]{5}$/);
      assert.match(metadata.uid, /^[0-9a-f-]{36}$/);
      assert.equal(metadata.generation, undefined);
      assert.equal(client.create("pods", podNamed("p")).metadata.generation, 1);
    }));

  it("are created once, in namespaces that exist", () =>
    withClient((client) => {
      client.create("configmaps", configMap("c"));
      refuses(() => client.create("configmaps", configMap("c")), 409, /configmaps "c" already exists/);
      refuses(() => client.create("configmaps", configMap("c", { namespace: "nowhere" })), 404, /namespaces "nowhere" not found/);
      refuses(() => client.create("configmaps", configMap("C_c")), 422, /RFC 1123 subdomain/);
    }));

  it("are only replaced in the version that the writer saw", () =>
    withClient((client) => {
      const old = client.create("configmaps", configMap("c"));
      client.update("configmaps", { ...old, data: { a: "1" } });
      refuses(() => client.update("configmaps", { ...old, data: { a: "2" } }), 409, /please apply your changes to the latest version/);
      client.update("configmaps", { ...configMap("c"), data: { a: "2" } });
    }));

  it("do not change by a write that changes nothing, nor by a dry run", () =>
    withClient((client) => {
      const old = client.create("configmaps", configMap("c"));
      assert.equal(client.update("configmaps", old).metadata.resourceVersion, old.metadata.resourceVersion);
      const dry = client.update<KubeObject>("configmaps", { ...old, data: { a: "1" } }, { dryRun: true });
      assert.deepEqual(dry.data, { a: "1" });
      assert.equal(client.get<KubeObject>("configmaps", "c", "default")?.data, undefined);
    }));

  it("count changes of their specification, and keep status apart", () =>
    withClient((client) => {
      client.create("pods", podNamed("p"));
      const status = client.patch(
        "pods",
        "p",
        "default",
        { status: { phase: "Running" }, spec: { hostname: "x" } },
        { subresource: "status" },
      );
      assert.deepEqual([status.metadata.generation, (status.spec as { hostname?: string }).hostname], [1, undefined]);
      const main = client.patch("pods", "p", "default", { status: { phase: "Failed" }, spec: { activeDeadlineSeconds: 5 } });
      assert.deepEqual([main.metadata.generation, (main.status as { phase: string }).phase], [2, "Running"]);
    }));
});

describe("deletion", () => {
  it("waits for finalizers", () =>
    withClient((client) => {
      client.create("configmaps", configMap("c", { finalizers: ["example.org/hold"] }));
      client.delete("configmaps", "c", "default");
      assert.ok(client.get<KubeObject>("configmaps", "c", "default")?.metadata.deletionTimestamp);
      refuses(
        () => client.patch("configmaps", "c", "default", { metadata: { finalizers: ["example.org/hold", "example.org/more"] } }),
        422,
        /no new finalizers/,
      );
      client.patch("configmaps", "c", "default", { metadata: { finalizers: null } });
      assert.equal(client.get("configmaps", "c", "default"), undefined);
    }));

  it("gives a pod on a node its grace period, which can only get shorter", () =>
    withClient((client) => {
      client.create("pods", podNamed("p"));
      client.patch("pods", "p", "default", { spec: { nodeName: "n" } });
      client.delete("pods", "p", "default");
      assert.equal(client.get<KubeObject>("pods", "p", "default")?.metadata.deletionGracePeriodSeconds, 30);
      client.delete("pods", "p", "default", { gracePeriodSeconds: 5 });
      client.delete("pods", "p", "default", { gracePeriodSeconds: 60 });
      assert.equal(client.get<KubeObject>("pods", "p", "default")?.metadata.deletionGracePeriodSeconds, 5);
      client.delete("pods", "p", "default", { gracePeriodSeconds: 0 });
      assert.equal(client.get("pods", "p", "default"), undefined);
    }));

  it("takes an unscheduled pod at once, and only the one that was meant", () =>
    withClient((client) => {
      client.create("pods", podNamed("p"));
      refuses(() => client.delete("pods", "p", "default", { uid: "other" }), 409, /UID in precondition: other/);
      client.delete("pods", "p", "default");
      refuses(() => client.delete("pods", "p", "default"), 404, /pods "p" not found/);
    }));

  it("empties a namespace, which takes no new objects meanwhile", () =>
    withClient(async (client) => {
      client.create("namespaces", { metadata: { name: "team" } });
      const held = { metadata: { name: "c", namespace: "team", finalizers: ["example.org/hold"] } };
      client.create("configmaps", held);
      client.create("secrets", { metadata: { name: "s", namespace: "team" } });
      client.delete("namespaces", "team");
      await delay(100);
      assert.ok(client.get("secrets", "s", "team"), "kubectl delete -f of a file finds what comes after the namespace");
      await until(() => client.get("secrets", "s", "team") === undefined);
      assert.equal(client.get<KubeObject>("namespaces", "team")?.metadata.deletionTimestamp !== undefined, true);
      refuses(() => client.create("configmaps", { metadata: { name: "d", namespace: "team" } }), 403, /being terminated/);
      client.patch("configmaps", "c", "team", { metadata: { finalizers: null } });
      await until(() => client.get("namespaces", "team") === undefined);
    }));
});

describe("events", () => {
  it("go an hour after they last happened", async () => {
    await using server = await startTestServer();
    const { directory } = server;
    const now = new Date();
    const event = (name: string, minutes: number) => ({
      metadata: { name, namespace: "default" },
      involvedObject: { kind: "Pod", name: "p" },
      lastTimestamp: timestamp(new Date(now.getTime() - minutes * 60_000)),
    });
    server.api.client.create("events", event("old", 61));
    server.api.client.create("events", event("new", 59));
    await server.api[Symbol.asyncDispose]();
    await using later = await startApiServer(
      { log: silentLogger, now: () => new Date(now.getTime() + 1000) },
      { directory, listeners: [] },
    );
    assert.equal(later.client.list("events").items.length, 2, "they are as young as their creation");
    await later[Symbol.asyncDispose]();
    await using much = await startApiServer(
      { log: silentLogger, now: () => new Date(now.getTime() + 3_601_000) },
      { directory, listeners: [] },
    );
    assert.equal(much.client.list("events").items.length, 0);
  });
});

describe("the local client's watch", () => {
  it("gives what exists, says so, then every change in order, never inside of a write", () =>
    withClient(async (client) => {
      client.create("configmaps", configMap("a", { labels: { x: "y" } }));
      const seen: string[] = [];
      const note = ({ type, object }: WatchEvent<KubeObject>) => seen.push(`${type} ${object.metadata.name}`);
      using _watch = client.watch<KubeObject>("configmaps", {
        namespace: "default",
        labelSelector: "x=y",
        onEvent: note,
        onSynced: () => seen.push("synced"),
      });
      client.create("configmaps", configMap("b", { labels: { x: "y" } }));
      assert.deepEqual(seen, []);
      await turn();
      client.patch("configmaps", "a", "default", { metadata: { labels: { x: "z" } } });
      client.patch("configmaps", "a", "default", { metadata: { labels: { x: "y" } } });
      client.delete("configmaps", "b", "default");
      await turn();
      assert.deepEqual(seen, ["ADDED a", "synced", "ADDED b", "DELETED a", "ADDED a", "DELETED b"]);
    }));

  it("ends when it is disposed, also in the middle of a delivery", () =>
    withClient(async (client) => {
      const seen: string[] = [];
      const watch = client.watch<KubeObject>("configmaps", {
        namespace: "default",
        onEvent({ object }) {
          seen.push(object.metadata.name);
          watch[Symbol.dispose]();
        },
      });
      client.create("configmaps", configMap("a"));
      client.create("configmaps", configMap("b"));
      await turn();
      assert.equal(seen.length, 1);
    }));

  it("goes on after a handler that throws", () =>
    withClient(async (client) => {
      let calls = 0;
      using _watch = client.watch("configmaps", {
        onEvent: () => {
          calls++;
          throw new Error("broken handler");
        },
      });
      await turn();
      const before = calls;
      client.create("configmaps", configMap("a"));
      await turn();
      assert.equal(calls, before + 1);
    }));
});
