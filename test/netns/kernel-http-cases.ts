import type { PeerRule } from "#proxy/protocol.ts";
import { HOSTILE } from "#proxy/testing/hostile.ts";

/** The rules of most tests. */
export const RULES: readonly PeerRule[] = [
  {
    identities: null,
    http: [
      { method: "GET|HEAD", path: "/public.*" },
      { method: "POST|PUT", path: "/in" },
    ],
    origins: [],
  },
];
/** Whatever is proper HTTP. */
export const OPEN: readonly PeerRule[] = [{ identities: null, http: [{ path: "/.*" }], origins: [] }];
/** Long enough for an answer in its place. */
const HOST = "Host: a\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\nAccept: */*\r\n";
/** A GET with enough in its head for an answer in its place. */
export const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\n${HOST}${more}\r\n`;
/** The same with a body. */
export const post = (path: string, more: string, body: string) => `POST ${path} HTTP/1.1\r\n${HOST}${more}\r\n${body}`;

/** Requests that the kernel must decide, and as the proxy does. */
export const ORDINARY: readonly (readonly [string, string])[] = [
  ["an allowed path", get("/public")],
  ["a path that begins as allowed", get("/public/x/y.html?q=a%2Fb//c")],
  ["a denied path", get("/secret")],
  ["a denied path that an allowed one begins with", get("/publi")],
  ["a path with a query where none is allowed", post("/in?x", "Content-Length: 0\r\n", "")],
  ["a denied method", `DELETE /public HTTP/1.1\r\n${HOST}\r\n`],
  ["an unknown method", `FROB /public HTTP/1.1\r\n${HOST}\r\n`],
  ["a longer method", `GETX /public HTTP/1.1\r\n${HOST}\r\n`],
  ["HEAD, denied", `HEAD /secret HTTP/1.1\r\n${HOST}\r\n`],
  ["a denied path that servers read differently", get("/secret/../public")],
  ["a body of a known length", post("/in", "Content-Length: 5\r\n", "hello")],
  ["a body in chunks", post("/in", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n")],
  ["a denied body", post("/out", "Content-Length: 5\r\n", "hello")],
  ["denied chunks", post("/out", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")],
  ["a client that waits for leave to send a body", post("/in", "Content-Length: 5\r\nExpect: 100-continue\r\n", "hello")],
  ["the same, denied", post("/out", "Content-Length: 5\r\nExpect: 100-continue\r\n", "")],
  ["HTTP/1.0", `GET /public HTTP/1.0\r\n${HOST}\r\n`],
  ["HTTP/1.0, denied", `GET /secret HTTP/1.0\r\n${HOST}\r\n`],
  ["a last request", get("/public", "Connection: close\r\n")],
  ["a last request, denied", get("/secret", "Connection: close\r\n")],
  ["an IPv6 host", `GET /public HTTP/1.1\r\nHost: [fd00::1]:8080\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`],
  ["a bad host", `GET /public HTTP/1.1\r\nHost: [fd00::1\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`],
  ["a bad port", `GET /public HTTP/1.1\r\nHost: a:123456\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`],
];
/** Requests that the kernel may leave to the proxy. */
export const UNUSUAL: readonly (readonly [string, string])[] = [
  ["an allowed path that servers read differently", get("/public/../secret")],
  ["an escaped slash", get("/public%2Fx")],
  ["a slash in too many bytes of UTF-8", get("/public/..%c0%afsecret")],
  ["dots in too many bytes of UTF-8", get("/public/%e0%80%ae%f0%80%80%ae/secret")],
  ["dots by their numbers", get("/public/%u002e%u002e/secret")],
  ["a name in Devanagari", get("/public/%e0%a4%a8")],
  ["WebSocket", get("/public", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n")],
  ["h2c", get("/public", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")],
  ["an absolute target", `GET http://a/public HTTP/1.1\r\n${HOST}\r\n`],
  ["CONNECT", `CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n`],
  ["the asterisk", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`],
  ["an empty line before", `\r\n${get("/public")}`],
  ["trailers", post("/in", "Transfer-Encoding: chunked\r\n", "0\r\nX-A: b\r\n\r\n")],
  ...HOSTILE.map(([name, text]) => [name, text] as const).filter(([name]) => name !== "HTTP/2 with prior knowledge"),
];
