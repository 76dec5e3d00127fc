import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { keepEarlyOutput } from "./early-output.ts";

describe("output before the first client", () => {
  const write = async (stream: PassThrough, text: string) => {
    const seen = once(stream, "data");
    stream.write(text);
    await seen;
  };

  it("is handed over once, each stream apart", async () => {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const early = keepEarlyOutput(stdout, stderr);
    await write(stdout, "one\n");
    await write(stderr, "oh\n");
    await write(stdout, "$ ");
    const taken = early.take();
    assert.deepEqual([taken?.stdout.toString(), taken?.stderr.toString()], ["one\n$ ", "oh\n"]);
    assert.equal(stdout.listenerCount("data"), 0);
    assert.equal(early.take(), undefined);
  });

  it("is what was written last when there is much", async () => {
    const stdout = new PassThrough();
    const early = keepEarlyOutput(stdout, new PassThrough());
    for (const text of ["a".repeat(50_000), "b".repeat(50_000)]) await write(stdout, text);
    assert.equal(early.take()?.stdout.toString(), "a".repeat(64 * 1024 - 50_000) + "b".repeat(50_000));
  });
});
