import type { RequestHead } from "./request-head.ts";

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** What Cilium's proxy answers to a denied request. */
export const DENIED_BODY = "Access denied\r\n";

/** A complete answer made by the proxy itself. `close` announces that no further request will be answered on this connection. */
export function localReply(code: number, body: string, close: boolean, request?: RequestHead): string {
  const connection = close ? "connection: close\r\n" : request?.minor === 0 ? "connection: keep-alive\r\n" : "";
  const head = `HTTP/1.1 ${code} ${REASONS[code] ?? "Error"}\r\ncontent-length: ${body.length}\r\ncontent-type: text/plain\r\n${connection}\r\n`;
  return request?.method === "HEAD" ? head : head + body;
}

const RESETS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "remote connection failure, transport failure reason: delayed connect error: Connection refused",
  ETIMEDOUT: "connection timeout",
  EHOSTUNREACH: "remote connection failure, transport failure reason: delayed connect error: No route to host",
  ENETUNREACH: "remote connection failure, transport failure reason: delayed connect error: Network is unreachable",
};

/** Envoy's words for a server that cannot be reached (`code` of the socket error), or that hung up (`undefined`). */
export function upstreamFailure(code: string | undefined): string {
  const reason = code === undefined ? "connection termination" : (RESETS[code] ?? "remote connection failure");
  return `upstream connect error or disconnect/reset before headers. reset reason: ${reason}`;
}
