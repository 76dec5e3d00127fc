import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { blockOf, frame, number, requestBlock, START } from "../testing/frames.ts";
import { anyPeer, collect, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";
import { FLAG, FRAME } from "./frame.ts";

const POLICY = policyOf([anyPeer({ method: "GET", path: "/public.*" })]);
const { data: DATA, headers: HEADERS, rstStream: RST_STREAM, settings: SETTINGS, ping: PING, continuation: CONTINUATION } = FRAME;
const { endStream: END_STREAM, endHeaders: END_HEADERS } = FLAG;

/** Sends what `flood` makes until the other side has enough; gives how much it took. */
async function send(socket: Socket, flood: Iterable<Buffer>): Promise<number> {
  let sent = 0;
  for (const piece of flood) {
    if (socket.destroyed || !socket.writable) break;
    sent += piece.length;
    if (!socket.write(piece)) await either(socket, "drain");
    if (sent % 50_000 < piece.length) await new Promise((resolve) => setImmediate(resolve));
  }
  return sent;
}

/** The event, or the end of the connection. */
function either(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const name of [event, "close"]) socket.off(name, done);
      resolve();
    };
    for (const name of [event, "close"]) socket.once(name, done);
  });
}

function* repeat(times: number, make: (i: number) => Buffer): Generator<Buffer> {
  for (let i = 0; i < times; i++) yield make(i);
}

const odd = (i: number) => 2 * i + 1;

/** Each would go on for ever if nobody stopped it. */
const FLOODS: Readonly<Record<string, () => Iterable<Buffer>>> = {
  "rapid reset (CVE-2023-44487)": () =>
    repeat(200_000, (i) =>
      Buffer.concat([
        frame(HEADERS, END_HEADERS | END_STREAM, odd(i), requestBlock("/public")),
        frame(RST_STREAM, 0, odd(i), Buffer.from([0, 0, 0, 8])),
      ]),
    ),
  "CONTINUATION without end (CVE-2024-27919)": function* () {
    yield frame(HEADERS, END_STREAM, 1, requestBlock("/public"));
    yield* repeat(100_000, (i) => frame(CONTINUATION, 0, 1, blockOf([`x-${i}`, "v".repeat(100)])));
  },
  "empty CONTINUATION frames": function* () {
    yield frame(HEADERS, END_STREAM, 1, requestBlock("/public"));
    yield* repeat(500_000, () => frame(CONTINUATION, 0, 1));
  },
  "frames on streams that never were": () => repeat(500_000, (i) => frame(DATA, 0, odd(i), Buffer.from("x"))),
  "settings without end (CVE-2019-9515)": () => repeat(200_000, () => frame(SETTINGS, 0, 0)),
  "empty frames of a body (CVE-2019-9518)": function* () {
    yield frame(HEADERS, END_HEADERS, 1, requestBlock("/private"));
    yield* repeat(500_000, () => frame(DATA, 0, 1));
  },
  "denied requests that are taken back": () =>
    repeat(200_000, (i) =>
      Buffer.concat([frame(HEADERS, END_HEADERS | END_STREAM, odd(i), requestBlock("/private")), frame(RST_STREAM, 0, odd(i), number(8))]),
    ),
  "requests beyond the limit at once": () => repeat(200_000, (i) => frame(HEADERS, END_HEADERS, odd(i), requestBlock("/private"))),
  "frames of a forbidden size": () => repeat(1000, () => frame(SETTINGS, 0, 0, Buffer.alloc(20_000 * 6))),
};

async function neighbourIsServed(proxy: Loopback): Promise<void> {
  const neighbour = await proxy.open();
  const answer = collect(neighbour);
  neighbour.write("GET /public HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
  assert.match(await answer.ended, /^HTTP\/1\.1 200 /);
}

describe("http2 floods", () => {
  for (const [name, flood] of Object.entries(FLOODS)) {
    it(`ends ${name}, and serves others`, async () => {
      await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
      const attacker = await proxy.open();
      attacker.resume();
      attacker.write(START);
      const before = process.memoryUsage();
      const total = await send(attacker, flood());
      if (!attacker.destroyed && !attacker.readableEnded) await either(attacker, "end");
      await neighbourIsServed(proxy);
      const after = process.memoryUsage();
      const grown = after.heapUsed + after.external - before.heapUsed - before.external;
      assert.ok(grown < 64 * 1024 * 1024, `memory grew by ${grown} bytes for ${total} bytes`);
      attacker.destroy();
    });
  }

  it("refuses header lists beyond the limit, each by itself", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
    const attacker = await proxy.open();
    attacker.resume();
    attacker.write(START);
    const long = Array.from({ length: 110 }, (_, n) => [`x-${n}`, "v".repeat(100)] as const);
    await send(
      attacker,
      repeat(500, (i) => frame(HEADERS, END_HEADERS | END_STREAM, odd(i), requestBlock("/public", ...long))),
    );
    await neighbourIsServed(proxy);
    assert.deepEqual(
      proxy.records.filter(({ http }) => http.protocol === "HTTP/2"),
      [],
    );
    attacker.destroy();
  });

  for (const [protocol, request] of [
    ["HTTP/2", (i: number) => frame(HEADERS, END_HEADERS | END_STREAM, odd(i), requestBlock("/private"))],
    ["HTTP/1.1", () => Buffer.from("GET /private HTTP/1.1\r\nHost: web\r\n\r\n")],
  ] as const) {
    it(`has others wait for a few denied requests in ${protocol} alone`, async () => {
      await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
      const attacker = await proxy.open();
      attacker.resume();
      if (protocol === "HTTP/2") attacker.write(START);
      attacker.write(Buffer.concat([...repeat(1500, request)]));
      let [known, most] = [0, 0];
      while (known < 1500) {
        await new Promise((resolve) => setImmediate(resolve));
        most = Math.max(most, proxy.records.length - known);
        known = proxy.records.length;
      }
      assert.ok(most <= 100, `${most} at once`);
      attacker.destroy();
    });
  }

  it("answers pings without keeping them", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
    const attacker = await proxy.open();
    attacker.resume();
    attacker.write(START);
    await send(
      attacker,
      repeat(20_000, () => frame(PING, 0, 0, Buffer.alloc(8))),
    );
    await neighbourIsServed(proxy);
    attacker.destroy();
  });
});
