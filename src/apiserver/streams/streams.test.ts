import assert from "node:assert/strict";
import { Duplex, PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { deflateSync } from "node:zlib";
import { exitStatus, readResizes } from "./session.ts";
import { startSpdySession } from "./spdy.ts";
import { SPDY_DICTIONARY } from "./spdy-dictionary.ts";
import { createHeaderCodec } from "./spdy-headers.ts";
import { splice } from "./splice.ts";

describe("SPDY header blocks", () => {
  it("use the dictionary of the standard", () => {
    assert.equal(SPDY_DICTIONARY.length, 1423);
    // The Adler-32 checksum of the dictionary stands in the zlib header.
    assert.equal(deflateSync("x", { dictionary: SPDY_DICTIONARY }).subarray(2, 6).toString("hex"), "e3c6a7c2");
  });
  it("survive the way through both directions, block after block", async () => {
    const [sender, receiver] = [createHeaderCodec(), createHeaderCodec()];
    for (const headers of [{ streamtype: "error", port: "80" }, {}, { streamtype: "data", port: "80", requestid: "0" }]) {
      assert.deepEqual(await receiver.decode(await sender.encode(headers)), headers);
    }
    sender.close();
    receiver.close();
  });
  it("are refused when they are nonsense", async () => {
    const codec = createHeaderCodec();
    await assert.rejects(codec.decode(Buffer.from("nonsense")));
    codec.close();
  });
});

/** Two ends of one connection. */
function pair(): [Duplex, Duplex] {
  const [there, back] = [new PassThrough(), new PassThrough()];
  return [Duplex.from({ readable: back, writable: there }), Duplex.from({ readable: there, writable: back })];
}

const frame = (head: readonly number[], flags: number, body: Buffer): Buffer =>
  Buffer.concat([Buffer.from([...head, flags, 0, body.length >> 8, body.length & 255]), body]);

describe("a SPDY connection", () => {
  it("opens streams, carries data both ways and ends them", async () => {
    const [client, server] = pair();
    const codec = createHeaderCodec();
    const session = startSpdySession(server, ({ headers, duplex }) => {
      assert.equal(headers.streamtype, "data");
      duplex.pipe(duplex);
    });
    const block = await codec.encode({ streamType: "data" });
    client.write(frame([0x80, 3, 0, 1], 0, Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), block])));
    client.write(frame([0, 0, 0, 1], 1, Buffer.from("hello")));
    const seen: Buffer[] = [];
    for await (const chunk of client as AsyncIterable<Buffer>) {
      seen.push(chunk);
      const all = Buffer.concat(seen);
      if (all.includes("hello") && all.subarray(-8).equals(Buffer.from([0, 0, 0, 1, 1, 0, 0, 0]))) break;
    }
    assert.deepEqual([...Buffer.concat(seen).subarray(0, 4)], [0x80, 3, 0, 2]);
    session.close();
    await session.closed;
    codec.close();
  });
  it("is cut when the client sends nonsense", async () => {
    const [client, server] = pair();
    client.on("error", () => undefined);
    const session = startSpdySession(server, () => assert.fail("no stream"));
    client.write(frame([0x80, 3, 0, 1], 0, Buffer.from("0123456789nonsense")));
    await session.closed;
  });
});

describe("splice", () => {
  it("lets the pod finish after the client has said everything", async () => {
    const [client, near] = pair();
    const [far, pod] = pair();
    const done = splice(near, far);
    client.end("question");
    assert.equal(await text(pod), "question");
    pod.end("answer");
    assert.equal(await text(client), "answer");
    await done;
  });
});

describe("the end of a session", () => {
  it("is a Status that kubectl turns into its exit code", () => {
    assert.deepEqual(exitStatus({ code: 0 }), { metadata: {}, status: "Success" });
    const { reason, details } = exitStatus({ code: 3 });
    assert.deepEqual([reason, details], ["NonZeroExitCode", { causes: [{ reason: "ExitCode", message: "3" }] }]);
  });
  it("sizes of a terminal are read in any chunks; a size of nothing is none", () => {
    const stream = new PassThrough();
    const sizes: unknown[] = [];
    readResizes(stream, (size) => sizes.push(size));
    for (const part of ['{"Width":80,', '"Height":24}{"Wid', 'th":0,"Height":0}']) stream.emit("data", Buffer.from(part));
    assert.deepEqual(sizes, [{ width: 80, height: 24 }]);
  });
});
