import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { chunked, get, HOSTILE, post } from "../testing/hostile.ts";
import { readRequestStream } from "../testing/request-stream.ts";

const FINE: readonly (readonly [string, string, readonly string[]])[] = [
  ["a plain request", get("/x?y=1"), ["GET /x?y=1 a 0"]],
  ["one leading empty line", `\r\n${get("/")}`, ["GET / a 0"]],
  ["an absolute target for its host", get("http://A/x"), ["GET http://A/x a 0"]],
  ["OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ["OPTIONS * a 0"]],
  ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ["CONNECT a:443 a:443 0"]],
  ["HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", ["GET /  0"]],
  ["IPv6 hosts", get("/", "Host: [fd00::1]:8080\r\n"), ["GET / [fd00::1]:8080 0"]],
  ["an empty Host", get("/", "Host:\r\n"), ["GET /  0"]],
  ["no blank behind the colon", get("/", "Host:a\r\n"), ["GET / a 0"]],
  ["obs-text in a value", get("/", "Host: a\r\nX: \xe9\r\n"), ["GET / a 0"]],
  ["names of Object's own", get("/", "Host: a\r\n__proto__: 1\r\nconstructor: 2\r\n"), ["GET / a 0"]],
  ["a body by length", post("Content-Length: 5\r\n", "hello"), ["POST / a 5"]],
  ["a body in chunks", chunked("5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n"), ["POST / a 32"]],
  ["trailers", chunked("0\r\nX-Sum: 1\r\n\r\n"), ["POST / a 15"]],
  ["upper case Chunked", post("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"), ["POST / a 5"]],
  ["a pipeline", get("/1") + post("Content-Length: 2\r\n", "ok") + get("/3"), ["GET /1 a 0", "POST / a 2", "GET /3 a 0"]],
];

/** The stream cut in two at every place, and into single bytes. */
function* cuts(bytes: Buffer): Generator<Buffer[]> {
  const step = bytes.length > 2000 ? 997 : 1;
  for (let at = 1; at < bytes.length; at += step) yield [bytes.subarray(0, at), bytes.subarray(at)];
  if (step === 1) yield [...bytes].map((byte) => Buffer.from([byte]));
}

describe("request stream", () => {
  for (const [name, text, reason] of HOSTILE) {
    it(`refuses ${name}, however it is cut`, () => {
      const bytes = Buffer.from(text, "latin1");
      const whole = readRequestStream([bytes]);
      assert.match(whole.error ?? "accepted", reason);
      assert.deepEqual(whole.requests, []);
      for (const pieces of cuts(bytes)) assert.deepEqual(readRequestStream(pieces), whole);
    });
  }
  for (const [name, text, requests] of FINE) {
    it(`reads ${name}, however it is cut`, () => {
      const bytes = Buffer.from(text, "latin1");
      for (const pieces of [[bytes], ...cuts(bytes)]) assert.deepEqual(readRequestStream(pieces), { requests, error: undefined });
    });
  }
});
