import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { alreadyRunning, isAlive, readRecord, takeLock } from "./lock.ts";
import { PROJECT } from "./paths.ts";

describe("the lab's lock", () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "cilia-lock-"));
    path = join(directory, "lock");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("is nobody's when there is none", () => {
    assert.equal(readRecord(path), undefined);
  });

  it("is held by one, names the living process, and is free again afterwards", () => {
    {
      using lock = takeLock(path);
      assert.ok(lock);
      assert.equal(lock.previous, undefined);
      lock.write(["cilia-worker"]);
      assert.equal(takeLock(path), undefined);
      const record = readRecord(path);
      assert.ok(record && isAlive(record));
      assert.deepEqual([record.pid, record.home, record.netns], [process.pid, PROJECT, ["cilia-worker"]]);
      lock.clear();
    }
    assert.equal(readRecord(path), undefined);
    using again = takeLock(path);
    assert.ok(again);
    assert.deepEqual(readdirSync(directory), ["lock"]);
  });

  it("remembers what a dead lab made until it is removed", () => {
    writeFileSync(path, JSON.stringify({ pid: 1, startTime: "no", boot: "no", home: "/x", netns: ["cilia-worker9"] }));
    using lock = takeLock(path);
    assert.equal(lock?.write(["cilia-worker"]).netns.join(), "cilia-worker9,cilia-worker");
    assert.match(readFileSync(path, "utf8"), /cilia-worker9.*\}$/);
  });

  it("is a dead lab's when it was written before the last boot", () => {
    using lock = takeLock(path);
    const record = lock?.write([]);
    assert.ok(record && isAlive(record));
    assert.equal(isAlive({ ...record, boot: "another" }), false);
  });

  for (const text of ['{"pid": 1, "sta', "null", "7", '{"pid":"1"}', '{"pid":1,"startTime":"2"}']) {
    it(`is a dead lab's when it holds ${JSON.stringify(text)}`, () => {
      writeFileSync(path, text);
      const record = readRecord(path);
      assert.ok(record);
      assert.equal(isAlive(record), false);
    });
  }

  it("says whose the lab is that runs, and how to end it", () => {
    const record = { pid: 7, startTime: "1", boot: "1", home: PROJECT, netns: [] };
    assert.equal(alreadyRunning(record).message, "a lab runs already (process 7); end it with: cilium lab down");
    assert.equal(
      alreadyRunning({ ...record, home: "/src/other" }).message,
      "a lab runs already (process 7, of the checkout /src/other); end it with: /src/other/bin/cilium lab down",
    );
  });
});
