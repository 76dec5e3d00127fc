import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ApiError } from "../errors.ts";
import type { KubeObject } from "../object.ts";
import { openStateFile } from "./sqlite.ts";
import { createStore, type StoreOptions } from "./store.ts";

const object = (name: string, data = "x", namespace = "a"): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace, uid: name, resourceVersion: "", creationTimestamp: "2026-01-01T00:00:00Z" },
  data,
});

function withFile(body: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "cilia-store-"));
  try {
    body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function withStore(body: (store: ReturnType<typeof createStore>) => void, options: StoreOptions = {}): void {
  withFile((directory) => {
    using file = openStateFile(directory);
    body(createStore(file, options));
  });
}

const names = (objects: readonly KubeObject[] | undefined) => objects?.map(({ metadata }) => metadata.name);

describe("store", () => {
  it("keeps objects and the revision over a restart, also when the last change was a deletion", () =>
    withFile((directory) => {
      {
        using file = openStateFile(directory);
        const store = createStore(file);
        store.put("configmaps", object("one"));
        store.remove("configmaps", store.put("configmaps", object("two")));
      }
      using file = openStateFile(directory);
      const store = createStore(file);
      assert.equal(store.revision, 3);
      assert.deepEqual(names(store.list("configmaps")), ["one"]);
      assert.equal(store.get("configmaps", "a/one")?.metadata.resourceVersion, "1");
    }));

  it("never gives a revision twice", () =>
    withFile((directory) => {
      for (const expected of [1, 2, 3]) {
        using file = openStateFile(directory);
        assert.equal(createStore(file).put("configmaps", object("one", String(expected))).metadata.resourceVersion, String(expected));
      }
    }));

  it("refuses a second server on the same file and lets it in when the first is gone", () =>
    withFile((directory) => {
      const first = openStateFile(directory);
      createStore(first).put("configmaps", object("one"));
      assert.throws(() => openStateFile(directory), /in use by another API server/);
      first[Symbol.dispose]();
      openStateFile(directory)[Symbol.dispose]();
    }));

  it("answers 507 when the disk is full, changes nothing and keeps serving", () =>
    withFile((directory) => {
      using file = openStateFile(directory, { maxPages: 12 });
      const store = createStore(file);
      store.put("configmaps", object("kept"));
      const before = store.revision;
      assert.throws(
        () => store.put("configmaps", object("big", "x".repeat(200_000))),
        (thrown: ApiError) => thrown instanceof ApiError && thrown.httpStatus === 507 && /nothing was changed/.test(thrown.message),
      );
      assert.equal(store.revision, before);
      assert.deepEqual(names(store.list("configmaps")), ["kept"]);
      store.put("configmaps", object("small"));
      assert.deepEqual(names(store.list("configmaps")), ["kept", "small"]);
    }));

  it("lists by namespace and name, and one namespace alone", () =>
    withStore((store) => {
      for (const [name, namespace] of [
        ["b", "y"],
        ["a", "y"],
        ["z", "x"],
      ] as const)
        store.put("configmaps", object(name, "", namespace));
      assert.deepEqual(names(store.list("configmaps")), ["z", "a", "b"]);
      assert.deepEqual(names(store.list("configmaps", "y")), ["a", "b"]);
    }));

  it("shows a list as it was at an earlier revision", () =>
    withStore((store) => {
      const one = store.put("configmaps", object("one", "old"));
      const then = store.revision;
      store.put("configmaps", object("two"));
      store.put("configmaps", { ...one, data: "new" });
      store.remove("configmaps", one);
      const list = store.listAt("configmaps", then);
      assert.deepEqual(names(list), ["one"]);
      assert.equal(list?.[0]?.data, "old");
    }));

  it("forgets old changes and says so", () =>
    withStore(
      (store) => {
        for (let count = 0; count < 20; count++) store.put("configmaps", object("one", String(count)));
        assert.equal(store.since("configmaps", 1), undefined);
        assert.equal(store.listAt("configmaps", 1), undefined);
        assert.deepEqual(
          store.since("configmaps", 18)?.map(({ revision }) => revision),
          [19, 20],
        );
      },
      { history: 4 },
    ));

  it("hands out frozen objects", () =>
    withStore((store) => {
      const stored = store.put("configmaps", object("one"));
      assert.throws(() => {
        stored.metadata.name = "other";
      }, TypeError);
    }));
});
