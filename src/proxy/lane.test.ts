import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { type Lane, openLane } from "./lane.ts";

/** A connection, and the lane of its server's side with what came through it. */
async function open(onData: (lane: Lane, bytes: Buffer) => void = () => undefined) {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  const [socket] = (await once(server, "connection")) as [Socket];
  server.close();
  let got = "";
  const told = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<string>();
  const lane = openLane(socket, {
    data: (bytes) => {
      got += bytes.toString("latin1");
      told.resolve();
      onData(lane, bytes);
    },
    end: () => ended.resolve(got),
  });
  const close = () => {
    client.destroy();
    socket.destroy();
  };
  return { ...{ client, socket, lane, told: told.promise, ended: ended.promise }, [Symbol.dispose]: close };
}

describe("lane", () => {
  it("gives bytes and the end in order, and sends on a half-closed connection", async () => {
    using pair = await open();
    pair.client.write("one ");
    pair.client.end("two");
    assert.equal(await pair.ended, "one two");
    pair.lane.write(Buffer.from("answer"));
    pair.socket.end();
    assert.equal(String(await once(pair.client, "data")), "answer");
  });

  it("takes more than the kernel does, tells when it is gone, and leaves the caller its buffer", async () => {
    using pair = await open();
    const [chunk, times] = [Buffer.alloc(1 << 20), 16];
    const [sent, received] = [createHash("sha1"), createHash("sha1")];
    const taken = Array.from({ length: times }, (_, n) => {
      sent.update(chunk.fill(n + 1));
      return pair.lane.write(chunk);
    });
    assert.equal(taken.at(-1), false);
    chunk.fill(0);
    const drained = once(pair.socket, "drain").then(() => pair.socket.end());
    for await (const bytes of pair.client as AsyncIterable<Buffer>) received.update(bytes);
    await drained;
    assert.equal(received.digest("hex"), sent.digest("hex"));
  });

  it("loses nothing while paused, neither bytes nor the end", async () => {
    using pair = await open((lane, bytes) => {
      if (String(bytes).startsWith("first")) lane.pause();
    });
    pair.client.write("first ");
    await pair.told;
    pair.client.end("second");
    await once(pair.client, "finish");
    pair.lane.resume();
    assert.equal(await pair.ended, "first second");
  });

  it("tells a reset as the socket's error", async () => {
    using pair = await open();
    const failed = once(pair.socket, "error");
    pair.client.resetAndDestroy();
    const [error] = (await failed) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNRESET");
  });
});
