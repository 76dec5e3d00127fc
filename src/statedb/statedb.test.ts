import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createDatabase } from "./database.ts";
import { DONE } from "./status.ts";

interface Pod {
  readonly name: string;
  readonly ips: readonly string[];
}

const pod = (name: string, ...ips: string[]): Pod => ({ name, ips });
const createPods = () => {
  const db = createDatabase();
  const spec = {
    name: "pods",
    key: (row: Pod) => row.name,
    indexes: { ip: (row: Pod) => row.ips },
    columns: { NAME: (row: Pod) => row.name, IPS: (row: Pod) => row.ips },
  };
  return { db, pods: db.createTable<Pod>(spec) };
};

describe("Table", () => {
  it("finds rows by key and by index, and forgets what a row no longer has", () => {
    const { pods } = createPods();
    pods.set(pod("a", "10.0.0.1", "fd00::1"));
    pods.set(pod("b", "10.0.0.2"));
    assert.deepEqual(
      pods.by("ip", "fd00::1").map((row) => row.name),
      ["a"],
    );
    pods.set(pod("a", "10.0.0.2"));
    assert.deepEqual(pods.by("ip", "fd00::1"), []);
    assert.deepEqual(
      pods
        .by("ip", "10.0.0.2")
        .map((row) => row.name)
        .sort(),
      ["a", "b"],
    );
    assert.equal(pods.delete("a"), true);
    assert.equal(pods.delete("a"), false);
    assert.equal(pods.by("ip", "10.0.0.2").length, 1);
    assert.throws(() => pods.by("nosuch", 1), /no index nosuch/);
  });
  it("freezes rows", () => {
    const { pods } = createPods();
    pods.set(pod("a"));
    assert.ok(Object.isFrozen(pods.get("a")));
  });
  it("prints itself, rows by key, with their status", () => {
    const { pods } = createPods();
    pods.set(pod("b", "10.0.0.2"));
    pods.set(pod("a"));
    pods.setStatus("b", pods.revisionOf("b") ?? 0, DONE);
    assert.equal(pods.show(), "NAME   IPS        STATUS\na      -          pending\nb      10.0.0.2   done\n");
  });
  it("ignores the status of a row that was written since", () => {
    const { pods } = createPods();
    pods.set(pod("a"));
    const old = pods.revisionOf("a") ?? 0;
    pods.set(pod("a", "10.0.0.1"));
    pods.setStatus("a", old, DONE);
    assert.equal(pods.statusOf("a").kind, "pending");
  });
  it("is initialized once every expected source has listed", async () => {
    const { pods } = createPods();
    const [first, second] = [pods.expect("one"), pods.expect("two")];
    first();
    first();
    assert.equal(pods.isInitialized, false);
    const waiting = pods.initialized;
    second();
    await waiting;
    assert.equal(pods.isInitialized, true);
  });
});

describe("Observer", () => {
  it("gives what is there, then changes coalesced by key with the row it last saw", () => {
    const { pods } = createPods();
    pods.set(pod("a"));
    using changes = pods.observe();
    assert.deepEqual(
      changes.take().map(({ key, previous }) => [key, previous]),
      [["a", undefined]],
    );
    pods.set(pod("a", "1.1.1.1"));
    pods.set(pod("a", "2.2.2.2"));
    pods.set(pod("b"));
    pods.delete("b");
    assert.deepEqual(
      changes.take().map(({ key, row, previous }) => [key, row?.ips, previous?.ips]),
      [["a", ["2.2.2.2"], []]],
    );
    pods.delete("a");
    pods.set(pod("a", "3.3.3.3"));
    assert.deepEqual(
      changes.take().map(({ row, previous }) => [row?.ips, previous?.ips]),
      [[["3.3.3.3"], ["2.2.2.2"]]],
    );
    assert.deepEqual(changes.take(), []);
  });
  it("is told once a transaction, after it", () => {
    const { db, pods } = createPods();
    using changes = pods.observe();
    const seen: number[] = [];
    changes.onReady(() => seen.push(pods.size));
    db.write(() => {
      pods.set(pod("a"));
      pods.set(pod("b"));
      assert.deepEqual(seen, []);
    });
    assert.deepEqual(seen, [2]);
  });
});

describe("Database.write", () => {
  it("takes everything back when it throws, and tells nobody", () => {
    const { db, pods } = createPods();
    pods.set(pod("a", "10.0.0.1"));
    const revision = pods.revision;
    using changes = pods.observe();
    changes.take();
    const fail = () =>
      db.write(() => {
        pods.set(pod("a", "10.0.0.9"));
        pods.set(pod("b"));
        pods.delete("a");
        throw new Error("no");
      });
    assert.throws(fail, /no/);
    assert.deepEqual([...pods.list()], [{ name: "a", ips: ["10.0.0.1"] }]);
    assert.equal(pods.by("ip", "10.0.0.1").length, 1);
    assert.equal(pods.revision, revision);
    assert.deepEqual(changes.take(), []);
  });
});
