import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { blockOf, END, frame, Heard, listen, number, requestBlock, START } from "../testing/frames.ts";
import { anyPeer, policyOf, startLoopback } from "../testing/loopback.ts";
import { FLAG, FRAME, MAX_PAYLOAD, PREFACE } from "./frame.ts";

const POLICY = policyOf([anyPeer({ path: "/public.*" })]);
const settings = frame(FRAME.settings, 0, 0);
const setting = (id: number, value: number) => frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, id]), number(value)]));
const get = (stream: number, ...more: readonly (readonly [string, string])[]) =>
  frame(FRAME.headers, END, stream, requestBlock("/public", ...more));
const post = (stream: number, ...more: readonly (readonly [string, string])[]) =>
  frame(FRAME.headers, FLAG.endHeaders, stream, requestBlock("/public", ...more));
const fields = (...all: readonly (readonly [string, string])[]) => frame(FRAME.headers, END, 1, blockOf(...all));
const [METHOD, SCHEME, PATH, AUTHORITY] = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/public"],
  [":authority", "web"],
] as const;

/** A server that says nothing but its settings, and remembers what it heard. */
function silentServer(heard: string[]): (socket: Socket) => void {
  return (socket) => {
    socket.write(settings);
    const all = new Heard(heard);
    let preface = PREFACE.length;
    socket.on("data", (bytes: Buffer) => {
      const skipped = Math.min(preface, bytes.length);
      preface -= skipped;
      all.hear(bytes.subarray(skipped));
    });
  };
}

/** What a client says, and the word that it hears for it. */
const CONNECTION_ERRORS: readonly (readonly [string, Buffer | readonly Buffer[], string])[] = [
  ["no preface", Buffer.from("PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n"), "protocolError"],
  ["a preface without settings", [PREFACE, frame(FRAME.ping, 0, 0, Buffer.alloc(8))], "protocolError"],
  ["an acknowledgement as first settings", [PREFACE, frame(FRAME.settings, FLAG.ack, 0)], "protocolError"],
  ["DATA on stream 0", [START, frame(FRAME.data, 0, 0, Buffer.from("x"))], "protocolError"],
  ["HEADERS on stream 0", [START, frame(FRAME.headers, END, 0, requestBlock("/public"))], "protocolError"],
  ["SETTINGS on a stream", [START, frame(FRAME.settings, 0, 1)], "protocolError"],
  ["PING on a stream", [START, frame(FRAME.ping, 0, 1, Buffer.alloc(8))], "protocolError"],
  ["GOAWAY on a stream", [START, frame(FRAME.goaway, 0, 1, Buffer.alloc(8))], "protocolError"],
  ["PRIORITY on stream 0", [START, frame(FRAME.priority, 0, 0, Buffer.alloc(5))], "protocolError"],
  ["RST_STREAM on stream 0", [START, frame(FRAME.rstStream, 0, 0, number(8))], "protocolError"],
  ["PUSH_PROMISE of a client", [START, frame(FRAME.pushPromise, END, 1, number(2))], "protocolError"],
  ["CONTINUATION of nothing", [START, frame(FRAME.continuation, END, 1)], "protocolError"],
  [
    "CONTINUATION of another stream",
    [START, frame(FRAME.headers, 1, 1, requestBlock("/")), frame(FRAME.continuation, END, 3)],
    "protocolError",
  ],
  [
    "another frame inside a header block",
    [START, frame(FRAME.headers, 1, 1, requestBlock("/")), frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    "protocolError",
  ],
  ["a stream number of the server's", [START, get(2)], "protocolError"],
  ["DATA of a request that never was", [START, frame(FRAME.data, 0, 5, Buffer.from("x"))], "protocolError"],
  ["RST_STREAM of a request that never was", [START, frame(FRAME.rstStream, 0, 5, number(8))], "protocolError"],
  ["WINDOW_UPDATE of a request that never was", [START, frame(FRAME.windowUpdate, 0, 5, number(8))], "protocolError"],
  ["DATA behind the end", [START, get(1), frame(FRAME.data, 0, 1, Buffer.from("x"))], "streamClosed"],
  ["HEADERS behind the end", [START, get(1), frame(FRAME.headers, END, 1, blockOf(["x", "y"]))], "streamClosed"],
  ["padding longer than DATA", [START, post(1), frame(FRAME.data, FLAG.padded, 1, Buffer.from([5, 1, 2, 3]))], "protocolError"],
  ["padding longer than HEADERS", [START, frame(FRAME.headers, END | FLAG.padded, 1, Buffer.from([9, 0x82]))], "protocolError"],
  [
    "priority in HEADERS that have no room for it",
    [START, frame(FRAME.headers, END | FLAG.priority, 1, Buffer.from([0x82]))],
    "protocolError",
  ],
  ["RST_STREAM of 3 bytes", [START, get(1), frame(FRAME.rstStream, 0, 1, Buffer.alloc(3))], "frameSizeError"],
  ["SETTINGS of 5 bytes", [START, frame(FRAME.settings, 0, 0, Buffer.alloc(5))], "frameSizeError"],
  ["an acknowledgement with settings", [START, frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(6))], "frameSizeError"],
  ["PING of 7 bytes", [START, frame(FRAME.ping, 0, 0, Buffer.alloc(7))], "frameSizeError"],
  ["GOAWAY of 7 bytes", [START, frame(FRAME.goaway, 0, 0, Buffer.alloc(7))], "frameSizeError"],
  ["WINDOW_UPDATE of 3 bytes", [START, frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(3))], "frameSizeError"],
  ["PRIORITY of 4 bytes", [START, frame(FRAME.priority, 0, 1, Buffer.alloc(4))], "frameSizeError"],
  ["a frame longer than allowed", [START, frame(FRAME.data, 0, 1, Buffer.alloc(MAX_PAYLOAD + 1))], "frameSizeError"],
  ["a window of the connection that grows by 0", [START, frame(FRAME.windowUpdate, 0, 0, number(0))], "protocolError"],
  ["a window of the connection beyond 2^31", [START, frame(FRAME.windowUpdate, 0, 0, number(0x7fff_ffff))], "flowControlError"],
  ["SETTINGS_INITIAL_WINDOW_SIZE beyond 2^31", [START, setting(4, 0x8000_0000)], "flowControlError"],
  ["SETTINGS_ENABLE_PUSH 2", [START, setting(2, 2)], "protocolError"],
  ["SETTINGS_MAX_FRAME_SIZE 16383", [START, setting(5, 16_383)], "protocolError"],
  ["more acknowledgements than settings", [START, ...Array<Buffer>(3).fill(frame(FRAME.settings, FLAG.ack, 0))], "protocolError"],
  ["a header block of nonsense", [START, frame(FRAME.headers, END, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))], "compressionError"],
  ["a table bigger than ours", [START, frame(FRAME.headers, END, 1, Buffer.from([0x3f, 0xe2, 0x1f, 0x82]))], "compressionError"],
];

const STREAM_ERRORS: readonly (readonly [string, readonly Buffer[]])[] = [
  ["no :method", [fields(SCHEME, PATH, AUTHORITY)]],
  ["no :scheme", [fields(METHOD, PATH, AUTHORITY)]],
  ["no :path", [fields(METHOD, SCHEME, AUTHORITY)]],
  ["a pseudo-header twice", [fields(METHOD, SCHEME, PATH, PATH)]],
  ["a pseudo-header behind a header", [fields(METHOD, SCHEME, ["a", "b"], PATH)]],
  ["a pseudo-header of answers", [fields(METHOD, SCHEME, PATH, [":status", "200"])]],
  ["a pseudo-header nobody knows", [fields(METHOD, SCHEME, PATH, [":x", "y"])]],
  ["an extended CONNECT, which was not offered", [fields([":method", "CONNECT"], SCHEME, PATH, AUTHORITY, [":protocol", "websocket"])]],
  ["CONNECT without :authority", [fields([":method", "CONNECT"])]],
  ["a scheme that is none", [fields(METHOD, [":scheme", "ht tp"], PATH)]],
  ["a name in upper case", [get(1, ["X-Role", "a"])]],
  ["an empty name", [get(1, ["", "a"])]],
  ["a blank in a name", [get(1, ["a b", "c"])]],
  ["a colon in a name", [get(1, ["a:", "c"])]],
  ["a line end in a value", [get(1, ["a", "b\r\nx-role: admin"])]],
  ["a line feed in a value", [get(1, ["a", "b\nc"])]],
  ["a NUL in a value", [get(1, ["a", "b\0c"])]],
  ["a line end in :path", [fields(METHOD, SCHEME, [":path", "/public HTTP/1.1\r\nX: y"])]],
  ["a blank before a value", [get(1, ["a", " b"])]],
  ["a blank behind a value", [get(1, ["a", "b\t"])]],
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"].map(
    (name) => [`the header ${name}`, [get(1, [name, "chunked"])]] as const,
  ),
  ["te with more than trailers", [get(1, ["te", "trailers, gzip"])]],
  ["two lengths", [post(1, ["content-length", "1"], ["content-length", "1"])]],
  ["two hosts", [get(1, ["host", "web"], ["host", "web"])]],
  ["a length that is none", [post(1, ["content-length", "+1"])]],
  ["a length and no body", [get(1, ["content-length", "1"])]],
  ["a body longer than its length", [post(1, ["content-length", "3"]), frame(FRAME.data, 0, 1, Buffer.from("four"))]],
  ["a body shorter than its length", [post(1, ["content-length", "5"]), frame(FRAME.data, 1, 1, Buffer.from("four"))]],
  ["a short body that ends with trailers", [post(1, ["content-length", "5"]), frame(FRAME.headers, END, 1, blockOf(["a", "b"]))]],
  ["trailers that are not the end", [post(1), frame(FRAME.headers, FLAG.endHeaders, 1, blockOf(["a", "b"]))]],
  ["a length in trailers", [post(1), frame(FRAME.headers, END, 1, blockOf(["content-length", "1"]))]],
  ["a pseudo-header in trailers", [post(1), frame(FRAME.headers, END, 1, blockOf(PATH))]],
  ["a window of a stream that grows by 0", [post(1), frame(FRAME.windowUpdate, 0, 1, number(0))]],
];

describe("hostile clients of HTTP/2", () => {
  for (const [name, said, code] of CONNECTION_ERRORS) {
    it(`are told ${code} for ${name}`, async () => {
      await using proxy = await startLoopback({ policy: POLICY, serve: silentServer([]) });
      const client = await proxy.open();
      const { heard, ended } = listen(client);
      client.write(Buffer.concat([said].flat()));
      await ended;
      assert.match(heard.words.at(-1) ?? "", new RegExp(`^goaway [0-9]+ ${code}$`), heard.words.join(", "));
    });
  }

  for (const [name, said] of STREAM_ERRORS) {
    it(`lose one request for ${name}`, async () => {
      const served: string[] = [];
      await using proxy = await startLoopback({ policy: POLICY, serve: silentServer(served) });
      const client = await proxy.open();
      const { heard, until } = listen(client);
      client.write(Buffer.concat([START, ...said, frame(FRAME.ping, 0, 0, Buffer.alloc(8))]));
      await until(/^reset 1|^goaway/);
      assert.ok(heard.words.includes("reset 1 protocolError"), heard.words.join(", "));
      // The server has not heard of it, or that it is over.
      client.write(get(3));
      while (!served.some((word) => word.startsWith("headers 3"))) await new Promise((again) => setImmediate(again));
      const [begun, over] = [/^headers 1/, /^reset 1 protocolError/].map((wanted) => served.some((word) => wanted.test(word)));
      assert.equal(begun, over, served.join(", "));
    });
  }
});

const answer = (...said: readonly Buffer[]) => Buffer.concat([settings, ...said]);
const ok = frame(FRAME.headers, FLAG.endHeaders, 1, blockOf([":status", "200"]));

/** What a server says to the first request, and what the client hears last of it. */
const SERVERS: readonly (readonly [string, Buffer, RegExp])[] = [
  ["no HTTP/2", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), /^headers 1 503/],
  ["no settings", ok, /^headers 1 503/],
  ["PUSH_PROMISE", answer(frame(FRAME.pushPromise, END, 1, Buffer.concat([number(2), requestBlock("/")]))), /^headers 1 503/],
  ["an answer to nobody", answer(frame(FRAME.headers, END, 7, blockOf([":status", "200"]))), /^headers 1 503/],
  ["a header block of nonsense", answer(frame(FRAME.headers, END, 1, Buffer.alloc(5, 0xff))), /^headers 1 503/],
  ["an answer without a status", answer(frame(FRAME.headers, END, 1, blockOf(["a", "b"]))), /^reset 1 protocolError/],
  ["a body before its head", answer(frame(FRAME.data, 1, 1, Buffer.from("x"))), /^reset 1 protocolError/],
  ["a reset before its answer", answer(frame(FRAME.rstStream, 0, 1, number(2))), /^headers 1 503/],
  ["that it refuses", answer(frame(FRAME.rstStream, 0, 1, number(7))), /^reset 1 refusedStream/],
  ["a reset behind a head", answer(ok, frame(FRAME.rstStream, 0, 1, number(11))), /^reset 1 enhanceYourCalm/],
  ["that it leaves", answer(frame(FRAME.goaway, 0, 0, Buffer.alloc(8))), /^reset 1 refusedStream/],
  [
    "interim answers without end",
    answer(...Array<Buffer>(40).fill(frame(FRAME.headers, FLAG.endHeaders, 1, blockOf([":status", "103"])))),
    /^reset 1/,
  ],
];

describe("hostile servers of HTTP/2", () => {
  for (const [name, said, wanted] of SERVERS) {
    it(`cannot confuse a client by ${name}`, async () => {
      const serve = (socket: Socket) => {
        // Behind the preface, once the request is there.
        socket.once("data", (bytes: Buffer) => {
          const heard = new Heard();
          const hear = (more: Buffer) => {
            heard.hear(more);
            if (heard.words.includes("headers 1 - end")) socket.write(said);
          };
          hear(bytes.subarray(PREFACE.length));
          socket.on("data", hear);
        });
      };
      await using proxy = await startLoopback({ policy: POLICY, serve });
      const client = await proxy.open();
      const { heard, until } = listen(client);
      client.write(Buffer.concat([START, get(1)]));
      await until(wanted);
      assert.ok(
        heard.words.some((word) => wanted.test(word)),
        heard.words.join(", "),
      );
      client.destroy();
    });
  }
});
