import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { silentLogger } from "#runtime/logger.ts";
import { createDatabase } from "#statedb/database.ts";
import { type Step, startPipeline } from "./pipeline.ts";
import { startReconciler, type Target } from "./reconciler.ts";

interface Row {
  readonly key: number;
  readonly value: string;
}

const createRows = () => createDatabase().createTable<Row>({ name: "rows", key: (row) => row.key });
const retry = { initial: 1, max: 2 };
const deps = { log: silentLogger };

/** A target that is a map, and fails every `failEvery`-th call. */
function createTarget(failEvery = 0) {
  const world = new Map<number, string>();
  let calls = 0;
  const maybeFail = () => {
    calls += 1;
    if (failEvery > 0 && calls % failEvery === 0) throw new Error("injected");
  };
  const target: Target<Row> = {
    update(row) {
      maybeFail();
      world.set(row.key, row.value);
    },
    remove(row) {
      maybeFail();
      world.delete(row.key);
    },
    prune(rows) {
      maybeFail();
      const keep = new Set([...rows].map((row) => row.key));
      for (const key of world.keys()) if (!keep.has(key)) world.delete(key);
    },
  };
  return { world, target };
}

describe("startReconciler", () => {
  it("makes the target equal to the table, whatever fails on the way", async () => {
    const rows = createRows();
    const { world, target } = createTarget(3);
    await using reconciler = startReconciler(deps, { name: "rows", table: rows, target, retry });
    for (let key = 0; key < 30; key++) rows.set({ key, value: `a${key}` });
    await reconciler.reconciled(rows.revision);
    for (let key = 0; key < 30; key += 2) rows.delete(key);
    rows.set({ key: 1, value: "b" });
    await reconciler.reconciled(rows.revision);
    assert.deepEqual(
      [...world].sort(([a], [b]) => a - b),
      [...rows.list()].map(({ key, value }) => [key, value]).sort(([a], [b]) => Number(a) - Number(b)),
    );
    assert.equal(reconciler.failing, 0);
    assert.equal(rows.statusOf(1).kind, "done");
  });
  it("does not prune before every source has listed", async () => {
    const rows = createRows();
    const { world, target } = createTarget();
    world.set(99, "from the last run");
    const listed = rows.expect("source");
    await using reconciler = startReconciler(deps, { name: "rows", table: rows, target, retry });
    rows.set({ key: 1, value: "a" });
    await reconciler.reconciled(rows.revision);
    assert.equal(world.has(99), true);
    listed();
    await reconciler.pruned;
    assert.deepEqual([...world], [[1, "a"]]);
  });
  it("says in the row's status why it is not realized, and waits for no other row's revision", async () => {
    const rows = createRows();
    const { target } = createTarget();
    const broken: Target<Row> = {
      ...target,
      update(row) {
        if (row.key === 2) throw new Error("no space left");
      },
    };
    await using reconciler = startReconciler(deps, { name: "rows", table: rows, target: broken, retry });
    const first = rows.set({ key: 1, value: "a" });
    const second = rows.set({ key: 2, value: "b" });
    await reconciler.reconciled(first);
    assert.match(rows.show(), /2 +error \(\d+\): no space left/);
    await assert.rejects(reconciler.reconciled(second, AbortSignal.timeout(10)), /timeout/i);
    rows.set({ key: 3, value: "c" });
    await reconciler.rowReconciled(3);
    await assert.rejects(reconciler.rowReconciled(2, AbortSignal.timeout(10)), /timeout/i);
    rows.delete(2);
    await reconciler.reconciled(rows.revision);
  });
});

describe("a reconciler with a prune interval", () => {
  it("repairs what somebody else changed in the target", async () => {
    const rows = createRows();
    const { world, target } = createTarget();
    await using reconciler = startReconciler(deps, { name: "rows", table: rows, target, retry, pruneIntervalMs: 5 });
    rows.set({ key: 1, value: "a" });
    await reconciler.pruned;
    world.set(1, "changed");
    world.set(2, "a stray");
    for (let tries = 0; tries < 200 && (world.get(1) !== "a" || world.has(2)); tries++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual([...world], [[1, "a"]]);
  });
  it("removes what a failed removal left when the key has a new row", async () => {
    const rows = createRows();
    const seen: string[] = [];
    let broken = true;
    const target: Target<Row> = {
      update: (row, previous) => void seen.push(`${row.value} after ${previous?.value}`),
      remove() {
        if (broken) throw new Error("busy");
      },
    };
    await using reconciler = startReconciler(deps, { name: "rows", table: rows, target, retry: { initial: 50, max: 50 } });
    rows.set({ key: 1, value: "a" });
    await reconciler.reconciled(rows.revision);
    rows.delete(1);
    await assert.rejects(reconciler.reconciled(rows.revision, AbortSignal.timeout(20)), /timeout/i);
    broken = false;
    rows.set({ key: 1, value: "b" });
    await reconciler.reconciled(rows.revision);
    assert.deepEqual(seen, ["a after undefined", "b after a"]);
  });
});

describe("startPipeline", () => {
  it("runs the steps in order, and again when one made work for an earlier one", async () => {
    const order: string[] = [];
    const done = Promise.withResolvers<void>();
    let wake = () => {};
    const first: Step = {
      name: "first",
      onWork(fn) {
        wake = fn;
      },
      run: () => void order.push("first"),
    };
    const second: Step = {
      name: "second",
      onWork: () => {},
      run() {
        order.push("second");
        if (order.length === 2) wake();
        else done.resolve();
      },
    };
    await using pipeline = startPipeline(deps, [first, second]);
    pipeline.wake();
    await done.promise;
    assert.deepEqual(order, ["first", "second", "first", "second"]);
  });
});
