import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readRequestStream } from "../testing/request-stream.ts";

const get = (target: string, headers = "Host: a\r\n") => `GET ${target} HTTP/1.1\r\n${headers}\r\n`;
const post = (headers: string, body = "") => `POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n${body}`;
const chunked = (body: string) => post("Transfer-Encoding: chunked\r\n", body);

/** What must never reach a server, with the reason we give. */
const HOSTILE: readonly (readonly [string, string, RegExp])[] = [
  ["Content-Length and Transfer-Encoding", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), /both/],
  ["the same, the other way round", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), /both/],
  ["two Transfer-Encodings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), /Transfer-Encoding/],
  ["identity behind chunked", post("Transfer-Encoding: chunked, identity\r\n"), /Transfer-Encoding/],
  ["gzip before chunked", post("Transfer-Encoding: gzip, chunked\r\n"), /Transfer-Encoding/],
  ["an unknown coding", post("Transfer-Encoding: xchunked\r\n"), /Transfer-Encoding/],
  ["a vertical tab before chunked", post("Transfer-Encoding: \x0bchunked\r\n"), /control character/],
  ["quoted chunked", post('Transfer-Encoding: "chunked"\r\n'), /Transfer-Encoding/],
  ["Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", /HTTP\/1\.0/],
  ["two different Content-Lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), /Content-Length/],
  ["two equal Content-Lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), /Content-Length/],
  ["a list of Content-Lengths", post("Content-Length: 5, 5\r\n", "hello"), /Content-Length/],
  ["a signed Content-Length", post("Content-Length: +5\r\n", "hello"), /Content-Length/],
  ["a negative Content-Length", post("Content-Length: -1\r\n"), /Content-Length/],
  ["an empty Content-Length", post("Content-Length:\r\n"), /Content-Length/],
  ["a hexadecimal Content-Length", post("Content-Length: 0x5\r\n", "hello"), /Content-Length/],
  ["a fractional Content-Length", post("Content-Length: 5.0\r\n", "hello"), /Content-Length/],
  ["a huge Content-Length", post("Content-Length: 99999999999999999999\r\n"), /Content-Length/],
  ["a blank before the colon", post("Content-Length : 5\r\n", "hello"), /header name/],
  ["a tab before the colon", get("/", "Host\t: a\r\n"), /header name/],
  ["an empty header name", get("/", "Host: a\r\n: x\r\n"), /header name/],
  ["a header without a colon", get("/", "Host: a\r\nfoo\r\n"), /header name/],
  ["a folded header", get("/", "Host: a\r\nX-A: b\r\n c\r\n"), /folded/],
  ["a folded header with a tab", get("/", "Host: a\r\nX-A: b\r\n\tc\r\n"), /folded/],
  ["a fold before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", /folded/],
  ["a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", /line feed/],
  ["a bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", /line feed/],
  ["only bare LFs", "GET / HTTP/1.1\n\n", /line feed/],
  ["a bare CR in a value", get("/", "Host: a\r\nX-A: b\rc: d\r\n"), /control character/],
  ["a bare CR for a line end", get("/", "Host: a\r\n\rX: y\r\n"), /carriage return|header name/],
  ["CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", /bad request/],
  ["NUL in a value", get("/", "Host: a\r\nX-A: b\0c\r\n"), /control character/],
  ["NUL in a name", get("/", "Host: a\r\nX\0A: b\r\n"), /header name/],
  ["NUL in the target", get("/a\0b"), /target/],
  ["an escaped NUL", get("/a%00b"), /NUL/],
  ["DEL in a value", get("/", "Host: a\r\nX-A: \x7f\r\n"), /control character/],
  ["a fragment", get("/admin#x"), /target/],
  ["a blank in the target", get("/a b"), /target/],
  ["two blanks before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", /request/],
  ["a tab for a blank", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", /method/],
  ["raw UTF-8 in the target", get("/é"), /target/],
  ["a target without a slash", get("admin"), /target/],
  ["an asterisk without OPTIONS", get("*"), /asterisk/],
  ["another host in the target", get("http://other/x"), /different hosts/],
  ["another scheme", get("https://a/x"), /target/],
  ["an absolute target without a path", get("http://a"), /target/],
  ["credentials in the target", get("http://u:p@a/x"), /different hosts/],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", /no Host/],
  ["two Hosts", get("/", "Host: a\r\nHost: b\r\n"), /more than one Host/],
  ["two equal Hosts", get("/", "Host: a\r\nHost: a\r\n"), /more than one Host/],
  ["a list in Host", get("/", "Host: a, b\r\n"), /Host/],
  ["a path in Host", get("/", "Host: a/b\r\n"), /Host/],
  ["credentials in Host", get("/", "Host: a@b\r\n"), /Host/],
  ["a bad method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", /method/],
  ["an empty method", " / HTTP/1.1\r\nHost: a\r\n\r\n", /not HTTP/],
  ["HTTP/0.9", "GET /\r\n\r\n", /request line/],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", /version/],
  ["HTTP/2.0 in text", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", /version/],
  ["a lower case version", "GET / http/1.1\r\nHost: a\r\n\r\n", /request line/],
  ["HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", /HTTP\/2/],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00", /not HTTP/],
  ["an SSH banner", "SSH-2.0-OpenSSH_9.2\r\n\r\n", /method/],
  ["two leading empty lines", `\r\n\r\n${get("/")}`, /not HTTP|carriage return/],
  ["a leading bare LF", `\n${get("/")}`, /not HTTP/],
  ["Connection naming a header that rules may need", get("/", "Host: a\r\nX-Auth: 1\r\nConnection: x-auth\r\n"), /Connection/],
  ["an unknown expectation", get("/", "Host: a\r\nExpect: 200-maybe\r\n"), /Expect/],
  ["CONNECT to another host", "CONNECT b:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", /CONNECT/],
  ["CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", /CONNECT/],
  ["a chunk extension", chunked("5;a=b\r\nhello\r\n0\r\n\r\n"), /chunk size/],
  ["a chunk size with a blank", chunked("5 \r\nhello\r\n0\r\n\r\n"), /chunk size/],
  ["a chunk size that overflows", chunked("fffffffffffffffff\r\n"), /chunk size/],
  ["a negative chunk size", chunked("-5\r\nhello\r\n"), /chunk size/],
  ["a chunk size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), /chunk size/],
  ["an empty chunk size", chunked("\r\n"), /chunk size/],
  ["a bare LF behind a chunk size", chunked("5\nhello\r\n0\r\n\r\n"), /line feed/],
  ["a chunk longer than it says", chunked("5\r\nhello!\r\n0\r\n\r\n"), /longer/],
  ["a chunk without its end", chunked("5\r\nhello0\r\n\r\n"), /longer/],
  ["a bare LF behind a chunk", chunked("5\r\nhello\n0\r\n\r\n"), /line feed/],
  ["a megabyte of chunk size", chunked("0".repeat(1000)), /too long/],
  ["Host in the trailers", chunked("0\r\nHost: b\r\n\r\n"), /trailer/],
  ["Content-Length in the trailers", chunked("0\r\nContent-Length: 5\r\n\r\n"), /trailer/],
  ["Authorization in the trailers", chunked("0\r\nAuthorization: x\r\n\r\n"), /trailer/],
  ["a folded trailer", chunked("0\r\nX-A: b\r\n c\r\n\r\n"), /folded/],
  ["endless trailers", chunked(`0\r\n${"X-A: b\r\n".repeat(2000)}`), /too long/],
  ["a head too long", get(`/${"a".repeat(70_000)}`), /longer than/],
  ["a head without an end", `GET /${"a".repeat(70_000)}`, /longer than/],
  ["too many headers", get("/", `Host: a\r\n${"X: y\r\n".repeat(100)}`), /more than 100/],
];

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
