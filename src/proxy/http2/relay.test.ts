import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  performServerHandshake,
  type ServerHttp2Stream,
  sensitiveHeaders,
} from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Readable } from "node:stream";
import { describe, it } from "node:test";
import fc from "fast-check";
import { blockOf, END, frame, Heard, listen, number, requestBlock, START } from "../testing/frames.ts";
import { anyPeer, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";
import { FLAG, FRAME, PREFACE } from "./frame.ts";

const POLICY = policyOf([anyPeer({ path: "/public.*" })]);

type Pairs = readonly (readonly [string, string])[];

function serve(onStream: (stream: ServerHttp2Stream, path: string, raw: Pairs) => void): (socket: Socket) => void {
  return (socket) => {
    const session = performServerHandshake(socket);
    session.on("error", () => undefined);
    session.on("stream", (stream, headers, _flags, raw: readonly string[]) => {
      stream.on("error", () => undefined);
      onStream(stream, headers[":path"] ?? "", pairsOf(raw));
    });
  };
}

function pairsOf(raw: readonly string[]): Pairs {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ""] as const] : []));
}

async function open(proxy: Pick<Loopback, "open">): Promise<ClientHttp2Session & AsyncDisposable> {
  const socket = await proxy.open();
  const session = connect("http://web", { createConnection: () => socket });
  session.on("error", () => undefined);
  return Object.assign(session, { [Symbol.asyncDispose]: async () => session.destroy() });
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function* pieces(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += 50_000) yield body.subarray(at, at + 50_000);
}

const digest = (bytes: Buffer) => createHash("sha1").update(bytes).digest("hex");
const soon = () => new Promise((resolve) => setImmediate(resolve));

/** Names and values that HTTP/2 allows, often the same again. */
const NAME = fc.oneof(
  fc.constantFrom("x-a", "x-b", "accept", "user-agent", "cookie"),
  fc.stringMatching(/^x-[a-z0-9!#$&*+.^_`|~-]{1,30}$/),
);
const VALUE = fc.oneof(fc.constantFrom("one", "two", ""), fc.stringMatching(/^[!-~](?:[ -~]{0,200}[!-~])?$/));
const HEADERS = fc.array(fc.tuple(NAME, VALUE), { maxLength: 12 });

describe("HTTP/2 through the proxy", () => {
  it("is what it is without it: any headers, both ways", async () => {
    const asked: Pairs[] = [];
    let answers: Record<string, string> = {};
    const server = serve((stream, _path, raw) => {
      asked.push(raw);
      stream.respond({ ":status": 200, ...answers });
      stream.end("body");
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    const plain = createServer({ allowHalfOpen: true }, server).listen(0, "127.0.0.1");
    await once(plain, "listening");
    const port = (plain.address() as AddressInfo).port;
    const direct = connect(`http://127.0.0.1:${port}`);
    await using session = await open(proxy);
    const ask = async (through: ClientHttp2Session, headers: Pairs) => {
      const [secret, shown] = [Object.fromEntries(headers.slice(0, 3)), Object.fromEntries(headers.slice(3))];
      const stream = through.request({
        ...{ ":path": "/public", ":authority": "web", ":scheme": "http", [sensitiveHeaders]: Object.keys(secret) },
        ...{ ...secret, ...shown },
      });
      const [, , raw] = (await once(stream, "response")) as [unknown, unknown, readonly string[]];
      return [pairsOf(raw).filter(([name]) => name !== "date"), String(await bodyOf(stream))];
    };
    await fc.assert(
      fc.asyncProperty(HEADERS, HEADERS, async (headers, wanted) => {
        answers = Object.fromEntries(wanted.filter(([name]) => name !== "cookie"));
        assert.deepEqual(await ask(session, headers), await ask(direct, headers));
        assert.deepEqual(asked.at(-2), asked.at(-1));
      }),
      { numRuns: 60 },
    );
    direct.destroy();
    plain.close();
  });

  it("reads a client's bytes however they are cut", async () => {
    const bytes = await bytesOfClient();
    const heard: string[] = [];
    const server = serve((stream, path, raw) => {
      heard.push(JSON.stringify(raw));
      stream.respond({ ":status": 200 });
      stream.on("end", () => stream.end(path)).resume();
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server, maxConnections: 10_000, maxConnectionsPerClient: 10_000 });
    for (let cut = 1; cut <= bytes.length; cut++) {
      const client = await proxy.open();
      client.setNoDelay(true);
      const { until } = listen(client);
      client.write(bytes.subarray(0, cut));
      if (cut % 2 === 0) await soon();
      client.write(bytes.subarray(cut));
      await Promise.all([until(/^data 1 .* end/), until(/^data 5 .* end/), until(/^data 3 .* end/)]);
      client.destroy();
    }
    assert.equal(heard.length, 2 * bytes.length);
    assert.deepEqual([...new Set(heard)].length, 2);
  });

  it("carries large bodies both ways at once, with checksums", async () => {
    const server = serve((stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    await using session = await open(proxy);
    const send = async (length: number) => {
      const body = randomBytes(length);
      const stream = session.request({ ":method": "POST", ":path": "/public", "content-length": length });
      // Node refuses answers while it has much to send.
      Readable.from(pieces(body)).pipe(stream);
      assert.equal(digest(await bodyOf(stream)), digest(body));
    };
    await Promise.all([10_000_000, 5_000_000, 16_384, 16_385, 65_535, 65_536, 1].map(send));
  });

  it("waits for slow readers, and others of the connection do not", async () => {
    const body = randomBytes(3_000_000);
    const server = serve((stream) => {
      stream.respond({ ":status": 200 });
      stream.end(body);
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    await using session = await open(proxy);
    const slow = session.request({ ":path": "/public/slow" });
    await once(slow, "response");
    session.setLocalWindowSize(1 << 20);
    for (let n = 0; n < 3; n++) assert.equal(digest(await bodyOf(session.request({ ":path": "/public/fast" }))), digest(body));
    assert.equal(digest(await bodyOf(slow)), digest(body));
  });

  it("gives back what denied uploads have used of the window", async () => {
    const server = serve((stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    await using session = await open(proxy);
    for (let n = 0; n < 10; n++) {
      const denied = session.request({ ":method": "POST", ":path": "/private" });
      denied.on("error", () => undefined);
      denied.end(Buffer.alloc(200_000));
      const [headers] = (await once(denied, "response")) as [{ ":status"?: number }];
      assert.equal(headers[":status"], 403);
      await bodyOf(denied).catch(() => undefined);
    }
    const allowed = session.request({ ":method": "POST", ":path": "/public" });
    allowed.end(Buffer.alloc(500_000, 1));
    assert.deepEqual(await bodyOf(allowed), Buffer.alloc(500_000, 1));
  });

  it("lets a server have no more of the client's window than our answers have left", async () => {
    const server = (socket: Socket) => {
      socket.write(frame(FRAME.settings, 0, 0));
      socket.once("data", () => {
        socket.write(frame(FRAME.headers, FLAG.endHeaders, 21, blockOf([":status", "200"])));
        for (let left = 65_535; left > 0; left -= 16_000)
          socket.write(frame(FRAME.data, left <= 16_000 ? 1 : 0, 21, Buffer.alloc(Math.min(left, 16_000))));
      });
    };
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    const client = await proxy.open();
    const { heard, until } = listen(client);
    const denied = Array.from({ length: 10 }, (_, n) => frame(FRAME.headers, END, 2 * n + 1, requestBlock("/private")));
    client.write(Buffer.concat([START, ...denied, frame(FRAME.headers, END, 21, requestBlock("/public"))]));
    await until(/^data 21/);
    while (heard.words.filter((word) => word.startsWith("data 21")).length < 4) await soon();
    assert.ok(!heard.words.includes("data 21 1535 end"), "more than the client had room for");
    client.write(frame(FRAME.windowUpdate, 0, 0, number(150)));
    await until(/^data 21 1535 end/);
    assert.equal(Buffer.concat(heard.bodies.get(21) ?? []).length, 65_535);
    client.destroy();
  });

  it("answers without a body where the client has no room for one", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: () => undefined });
    const client = await proxy.open();
    const { heard, until } = listen(client);
    const noWindow = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), number(0)]));
    client.write(Buffer.concat([START, noWindow, frame(FRAME.headers, END, 1, requestBlock("/private"))]));
    await until(/^headers 1/);
    assert.ok(heard.words.includes("headers 1 403 end"), heard.words.join(", "));
    client.destroy();
  });

  it("keeps the tables of both ends in step when they change, with answers of its own between", async () => {
    const server = serve((stream, path) => {
      stream.respond({ ":status": 200, "x-long": path.repeat(10) });
      stream.end();
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    await using session = await open(proxy);
    const ask = async (path: string) => {
      const stream = session.request({ ":path": path, "x-long": path.repeat(10) });
      const [headers] = (await once(stream, "response")) as [{ ":status"?: number; "x-long"?: string }];
      stream.resume();
      await once(stream, "close");
      return `${headers[":status"]} ${headers["x-long"] ?? ""}`;
    };
    for (const headerTableSize of [4096, 0, 200, 65_536, 64, 4096]) {
      session.settings({ headerTableSize });
      await once(session, "localSettings");
      if (headerTableSize === 64) {
        session.settings({ headerTableSize: 4000 });
        await once(session, "localSettings");
      }
      assert.equal(await ask("/private"), "403 ");
      for (const path of ["/public/1", "/public/2", "/public/1"]) assert.equal(await ask(path), `200 ${path.repeat(10)}`);
    }
  });

  it("passes a server's goodbye on, and what it has begun goes on", async () => {
    const begun = Promise.withResolvers<ServerHttp2Stream>();
    await using proxy = await startLoopback({ policy: POLICY, serve: serve((stream) => begun.resolve(stream)) });
    await using session = await open(proxy);
    const stream = session.request({ ":path": "/public" });
    const theirs = await begun.promise;
    const goaway = once(session, "goaway");
    theirs.session?.close();
    const [code, last] = (await goaway) as [number, number];
    assert.deepEqual([code, last], [0, 1]);
    theirs.respond({ ":status": 200 });
    theirs.end("late");
    assert.equal(String(await bodyOf(stream)), "late");
    if (!session.closed) await once(session, "close");
  });

  it("finishes what is under way when it is told to end, and takes nothing more in the end", async () => {
    const begun = Promise.withResolvers<ServerHttp2Stream>();
    await using proxy = await startLoopback({ policy: POLICY, serve: serve((stream) => begun.resolve(stream)), timeouts: { last: 20 } });
    const client = await proxy.open();
    const { heard, until, ended } = listen(client);
    client.write(Buffer.concat([START, frame(FRAME.headers, END, 1, requestBlock("/public"))]));
    const theirs = await begun.promise;
    const drained = proxy.drain(60_000);
    await until(/^goaway 1 noError/);
    assert.equal(
      heard.words.find((word) => word.startsWith("goaway")),
      "goaway 2147483647 noError",
    );
    client.write(frame(FRAME.headers, END, 3, requestBlock("/public")));
    await until(/^reset 3 refusedStream/);
    // The server says goodbye, too, and would serve more than we: clients take a number that rises for an error.
    theirs.session?.goaway(0, 2 ** 31 - 1);
    theirs.respond({ ":status": 200 });
    theirs.end("late");
    await ended;
    client.end();
    await drained;
    assert.deepEqual([heard.words.includes("headers 1 200"), String(Buffer.concat(heard.bodies.get(1) ?? []))], [true, "late"]);
    const goodbyes = heard.words.filter((word) => word.startsWith("goaway"));
    assert.deepEqual(goodbyes.slice(0, 3), ["goaway 2147483647 noError", "goaway 1 noError", "goaway 1 noError"]);
  });

  it("serves what was on its way when it was told to end", async () => {
    const server = serve((stream, path) => {
      stream.respond({ ":status": 200 });
      stream.end(path);
    });
    await using proxy = await startLoopback({ policy: POLICY, serve: server, timeouts: { last: 60_000 } });
    const [fresh, used] = await Promise.all([proxy.open(), proxy.open()]);
    const before = listen(used);
    used.write(Buffer.concat([START, frame(FRAME.headers, END, 1, requestBlock("/public/before"))]));
    await before.until(/^data 1 .*end|^data 1 0 end/);
    while (proxy.connections < 2) await soon();
    const drained = proxy.drain(60_000);
    await before.until(/^goaway 2147483647 noError/);
    used.write(frame(FRAME.headers, END, 3, requestBlock("/public/last")));
    const first = listen(fresh);
    fresh.write(Buffer.concat([START, frame(FRAME.headers, END, 3, requestBlock("/public/last"))]));
    await Promise.all([before.until(/^data 3/), first.until(/^data 3/)]);
    for (const { heard } of [before, first]) assert.equal(String(Buffer.concat(heard.bodies.get(3) ?? [])), "/public/last");
    for (const socket of [fresh, used]) socket.end();
    await drained;
  });

  it("goes on without a server that cannot be reached, with nothing lost", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: () => undefined, serverPort: 1 });
    const client = await proxy.open();
    const { heard, until } = listen(client);
    for (const id of [1, 3]) {
      const post = frame(FRAME.headers, FLAG.endHeaders, id, requestBlock("/public"));
      // All in one piece, so that the server is being called when the rest comes.
      client.write(
        Buffer.concat([
          id === 1 ? START : Buffer.alloc(0),
          post,
          frame(FRAME.data, 1, id, Buffer.alloc(1000)),
          frame(FRAME.settings, 0, 0),
        ]),
      );
      await until(new RegExp(`^data ${id} .*end`));
    }
    assert.deepEqual(heard.words.filter((word) => /^window|^settings ack|^headers/.test(word)).sort(), [
      "headers 1 503",
      "headers 3 503",
      "settings ack",
      "settings ack",
      "settings ack",
      "window 0 1000",
      "window 0 1000",
    ]);
    client.destroy();
  });

  it("carries pings from end to end once there is a server, and answers them before", async () => {
    const served: string[] = [];
    const server = (socket: Socket) => {
      const heard = new Heard(served);
      socket.write(frame(FRAME.settings, 0, 0));
      socket.once("data", (bytes: Buffer) => heard.hear(bytes.subarray(PREFACE.length)));
      socket.once("data", () => socket.on("data", (more: Buffer) => heard.hear(more)));
    };
    await using proxy = await startLoopback({ policy: POLICY, serve: server });
    const client = await proxy.open();
    const { until } = listen(client);
    const ping = frame(FRAME.ping, 0, 0, Buffer.from("pingpong"));
    client.write(Buffer.concat([START, ping]));
    await until(/^ping ack/);
    client.write(frame(FRAME.headers, END, 1, requestBlock("/public")));
    while (!served.includes("headers 1 - end")) await soon();
    client.write(ping);
    while (!served.includes("ping")) await soon();
    client.destroy();
  });

  it("gives up on a server that does not answer", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: serve(() => undefined), timeouts: { response: 50 } });
    await using session = await open(proxy);
    const stream: ClientHttp2Stream = session.request({ ":path": "/public" });
    const [headers] = (await once(stream, "response")) as [{ ":status"?: number }];
    assert.equal(headers[":status"], 504);
  });

  it("gives up on a client that does not finish a head", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: () => undefined, timeouts: { head: 50 } });
    const client = await proxy.open();
    const { heard, ended } = listen(client);
    client.write(Buffer.concat([START, frame(FRAME.headers, 0, 1, requestBlock("/public"))]));
    await ended;
    assert.equal(heard.words.at(-1), "goaway 0 enhanceYourCalm");
  });
});

/** What Node's client sends for three requests, of which the third is denied. */
async function bytesOfClient(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const recorder = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(frame(FRAME.settings, 0, 0));
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  }).listen(0, "127.0.0.1");
  await once(recorder, "listening");
  const session = connect(`http://127.0.0.1:${(recorder.address() as AddressInfo).port}`);
  session.on("error", () => undefined);
  await once(session, "remoteSettings");
  const more = {
    ":method": "POST",
    ":authority": "web",
    "x-trace": "0123456789",
    authorization: "secret",
    [sensitiveHeaders]: ["authorization"],
  };
  for (const path of ["/public/one", "/private", "/public/two"]) {
    const stream = session.request({ ":path": path, ...more });
    stream.on("error", () => undefined);
    stream.end("body");
  }
  const isWhole = () => {
    const heard = new Heard();
    heard.hear(Buffer.concat(chunks).subarray(PREFACE.length));
    return heard.words.some((word) => /^data 5 .*end/.test(word));
  };
  while (!isWhole()) await soon();
  session.destroy();
  recorder.close();
  return Buffer.concat(chunks);
}
