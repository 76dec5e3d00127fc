import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { isAlive, readRecord, takeLock } from "./leftovers.ts";

describe("the lab's lock", () => {
  let directory: string;
  let lock: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "cilia-lock-"));
    lock = join(directory, "lock");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("is nobody's when there is none", () => {
    assert.equal(readRecord(lock), undefined);
  });

  it("is taken once, names the living process and leaves no draft", () => {
    assert.equal(takeLock(["cilia-worker"], lock), true);
    assert.equal(takeLock(["cilia-other"], lock), false);
    const record = readRecord(lock);
    assert.ok(record && isAlive(record));
    assert.equal(record.pid, process.pid);
    assert.deepEqual(record.netns, ["cilia-worker"]);
    assert.deepEqual(readdirSync(directory), ["lock"]);
  });

  for (const text of ["", '{"pid": 1, "sta', "null", "7", '{"pid":"1"}', '{"pid":1,"startTime":"2"}']) {
    it(`is a dead lab's when it holds ${JSON.stringify(text)}`, () => {
      writeFileSync(lock, text);
      const record = readRecord(lock);
      assert.ok(record);
      assert.equal(isAlive(record), false);
    });
  }
});
