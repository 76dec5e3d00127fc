import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http2";
import { type HeaderField, isToken } from "../http/header-fields.ts";
import { type HttpError, httpError } from "../http/http-error.ts";
import { HOST, type RequestHead, TARGET } from "../http/request-head.ts";
import type { HeaderAction } from "../policy/http-rule.ts";

/**
 * The request of a stream in the words of HTTP/1, so that policy and records need not know the difference. nghttp2 has checked the form of
 * the headers (RFC 9113 §8.2); what is left is what servers could read in different ways.
 */
export function requestOfStream(headers: IncomingHttpHeaders): RequestHead | HttpError {
  const method = headers[":method"] ?? "";
  const target = headers[":path"] ?? "";
  const host = headers[":authority"] ?? headers.host ?? "";
  if (!isToken(method)) return httpError(400, "bad method");
  if (!HOST.test(host)) return httpError(400, "bad authority");
  if (headers.host !== undefined && headers.host !== host) return httpError(400, "authority and Host header differ");
  if (method === "CONNECT") return connectRequest(headers, host);
  if (!TARGET.test(target) || /%00/.test(target)) return httpError(400, "bad request target");
  if (target === "*" ? method !== "OPTIONS" : !target.startsWith("/")) return httpError(400, "bad request target");
  return { ...COMMON, method, target, path: target, host, headers: fieldsOf(headers) };
}

/** What HTTP/2 leaves to its frames. */
const COMMON = {
  ...({ minor: 1, protocol: "HTTP/2", framing: { kind: "none" } } as const),
  ...{ keepAlive: true, upgrade: false, h2c: false, otherUpgrade: false, expectContinue: false },
} satisfies Partial<RequestHead>;

/** RFC 9113 §8.5: a tunnel through one stream, which names a host and port and nothing else. Rules see it as in HTTP/1, without a path. */
function connectRequest(headers: IncomingHttpHeaders, host: string): RequestHead | HttpError {
  if (headers[":path"] !== undefined || headers[":scheme"] !== undefined) return httpError(400, "CONNECT with a path or a scheme");
  if (!/:[0-9]{1,5}$/.test(host)) return httpError(400, "CONNECT without a port");
  return { ...COMMON, method: "CONNECT", target: host, path: "", host, headers: fieldsOf(headers) };
}

/** Ordinary headers as fields; they have no place in a head. */
export function fieldsOf(headers: IncomingHttpHeaders): HeaderField[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (name.startsWith(":") || value === undefined) return [];
    return [value].flat().map((one) => ({ name, value: String(one), start: 0, end: 0 }));
  });
}

/** The headers for the other side, with the rules' actions applied. */
export function forwardedHeaders(headers: IncomingHttpHeaders, actions: readonly HeaderAction[]): OutgoingHttpHeaders {
  const forwarded: OutgoingHttpHeaders = Object.assign(Object.create(null) as OutgoingHttpHeaders, headers);
  for (const { name, value, mismatch } of actions) {
    const equal = Object.keys(forwarded).filter((found) => found.replaceAll("_", "-") === name.replaceAll("_", "-"));
    if (mismatch === "DELETE" || mismatch === "REPLACE") for (const found of equal) delete forwarded[found];
    if (mismatch === "REPLACE") forwarded[name] = value;
    if (mismatch === "ADD") forwarded[name] = [forwarded[name] ?? [], value].flat().map(String);
  }
  return forwarded;
}

/** gRPC clients understand `grpc-status`, not the codes of HTTP. */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  return /^application\/grpc(?:$|[+;])/.test(String(headers["content-type"] ?? ""));
}

/** What Envoy makes of the codes of its own answers (grpc.github.io/grpc/core/md_doc_statuscodes.html). */
const GRPC_STATUS: Readonly<Record<number, number>> = { 400: 13, 403: 7, 501: 12, 502: 14, 503: 14, 504: 14 };

/** The headers of an answer by the proxy itself. A gRPC answer is headers alone. */
export function localHeaders(code: number, body: string, grpc: boolean): OutgoingHttpHeaders {
  if (!grpc) return { ":status": code, "content-type": "text/plain", "content-length": body.length };
  const message = encodeURIComponent(body.trimEnd()).replaceAll("%20", " ");
  return { ":status": 200, "content-type": "application/grpc", "grpc-status": GRPC_STATUS[code] ?? 2, "grpc-message": message };
}
