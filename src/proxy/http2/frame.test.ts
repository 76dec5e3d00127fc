import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { frame } from "../testing/frames.ts";
import { FRAME, FrameReader, MAX_PAYLOAD } from "./frame.ts";

const SENT = [
  frame(FRAME.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100])),
  frame(FRAME.ping, 0, 0, Buffer.from("12345678")),
  frame(FRAME.data, 1, 5, Buffer.from("hello")),
  frame(FRAME.data, 0, 7),
  frame(200, 255, 0x7fff_ffff, Buffer.alloc(300, 7)),
];

/** The frames that a reader finds in the pieces. */
function read(...pieces: readonly Buffer[]): { readonly found: Buffer[]; readonly reader: FrameReader } {
  const reader = new FrameReader();
  const found: Buffer[] = [];
  for (const piece of pieces) {
    // As a lane does, which uses its buffer again.
    const lent = Buffer.from(piece);
    reader.lend(lent);
    while (reader.next()) found.push(Buffer.from(reader.input.subarray(reader.start, reader.end)));
    lent.fill(0xff);
  }
  return { found, reader };
}

describe("frames", () => {
  const whole = Buffer.concat(SENT);

  it("are found however they are cut", () => {
    for (let cut = 0; cut <= whole.length; cut++)
      assert.deepEqual(read(whole.subarray(0, cut), whole.subarray(cut)).found, SENT, `cut at ${cut}`);
    assert.deepEqual(read(...Array.from(whole, (byte) => Buffer.from([byte]))).found, SENT);
  });

  it("end with one that is too long, however it is cut", () => {
    const longest = frame(FRAME.data, 0, 1, Buffer.alloc(MAX_PAYLOAD));
    assert.deepEqual(read(longest).found, [longest]);
    const long = Buffer.concat([SENT[0] as Buffer, frame(FRAME.data, 0, 1, Buffer.alloc(MAX_PAYLOAD + 1))]);
    for (const cut of [0, 3, 15, 20, 24, 25, long.length]) {
      const { found, reader } = read(long.subarray(0, cut), long.subarray(cut));
      assert.deepEqual([found, reader.oversized], [[SENT[0]], true], `cut at ${cut}`);
    }
  });

  it("can be put back with all behind them", () => {
    for (let cut = 0; cut < whole.length; cut++) {
      const reader = new FrameReader();
      reader.lend(whole.subarray(0, cut));
      let at = 0;
      while (reader.next()) at++;
      if (at >= SENT.length) continue;
      reader.lend(whole.subarray(cut));
      assert.ok(reader.next());
      assert.deepEqual(reader.unread(), Buffer.concat(SENT.slice(at)), `cut at ${cut}`);
      assert.equal(reader.next(), false);
    }
  });
});
