import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { oracleRequests } from "../testing/oracle.ts";
import { readRequestStream } from "../testing/request-stream.ts";

const METHOD = fc.constantFrom("GET", "POST", "PUT", "OPTIONS", "CONNECT", "get", "X-Y");
const TARGET = fc.constantFrom("/", "/a?b=c", "/x/../y", "*", "http://a/x", "http://b/", "a:80", "/%00", "/#f", "/\xe9");
const VERSION = fc.constantFrom("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1");
const HEADER = fc.constantFrom(
  ...["host:b", "Content-Length: 3", "Content-Length: 0", "Content-Length: 3,3", "Content-Length: +3"],
  ...[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:\tCHUNKED",
    "Transfer-Encoding: identity",
    "X-A: b",
    "X-A : b",
    " folded",
    ": empty",
  ],
  ...["Expect: 100-continue", "Expect: x", "__proto__: y"],
);
const HOST = fc.constantFrom("Host: a\r\n", "Host: a\r\n", "Host: a:80\r\n", "");
const END = fc.constantFrom("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n");
const BODY = fc.constantFrom(
  "",
  "",
  "abc",
  "0\r\n\r\n",
  "3\r\nabc\r\n0\r\n\r\n",
  "3\nabc\r\n0\r\n\r\n",
  "3;x\r\nabc\r\n0\r\n\r\n",
  "00a\r\n0123456789\r\n0\r\n\r\n",
);

const request = fc
  .tuple(METHOD, TARGET, VERSION, HOST, fc.array(fc.tuple(HEADER, END), { maxLength: 5 }), END, BODY)
  .map(
    ([method, target, version, host, headers, end, body]) =>
      `${method} ${target} ${version}\r\n${host}${headers.map((pair) => pair.join("")).join("")}${end}${body}`,
  );

/** Streams of mostly proper requests, some with a few bytes changed. */
const stream = fc
  .tuple(fc.array(request, { minLength: 1, maxLength: 4 }), fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 2 }))
  .map(([requests, changes]) => {
    const bytes = Buffer.from(requests.join(""), "latin1");
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return bytes;
  });

function* cutAt(bytes: Buffer, places: readonly number[]): Generator<Buffer> {
  let from = 0;
  for (const place of [...places].sort((a, b) => a - b)) {
    const to = Math.min(place, bytes.length);
    if (to > from) yield bytes.subarray(from, to);
    from = Math.max(from, to);
  }
  if (from < bytes.length) yield bytes.subarray(from);
}

describe("request stream (properties)", () => {
  it("accepts exactly the requests that the grammar accepts", () => {
    fc.assert(
      fc.property(stream, (bytes) => {
        const oracle = oracleRequests(bytes.toString("latin1"));
        const read = readRequestStream([bytes]);
        assert.deepEqual(read.requests, oracle.requests);
        if (read.error !== undefined) assert.notEqual(oracle.rest, "");
      }),
      { numRuns: 5000 },
    );
  });

  it("reads the same however the bytes are cut", () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(600), { maxLength: 8 }), (bytes, places) => {
        assert.deepEqual(readRequestStream(cutAt(bytes, places)), readRequestStream([bytes]));
      }),
      { numRuns: 3000 },
    );
  });

  it("never throws on any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readRequestStream([Buffer.from(bytes)]);
      }),
      { numRuns: 2000 },
    );
  });
});
