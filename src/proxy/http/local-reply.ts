import type { RequestHead } from "./request-head.ts";

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  408: "Request Timeout",
  421: "Misdirected Request",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** What a denied request is answered with, beside the code 403. */
export interface DeniedReply {
  readonly body: string;
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** What Cilium's proxy answers. */
export const DENIED: DeniedReply = { body: "Access denied\r\n", headers: [] };

/** The 403 to a denied request. */
export function deniedReply({ body, headers }: DeniedReply, close: boolean, request: RequestHead): string {
  return localReply(403, body, close, request, headers.map(([name, value]) => `${name}: ${value}\r\n`).join(""));
}

/** A complete answer made by the proxy itself. `close` announces that no further request will be answered on this connection. */
export function localReply(code: number, body: string, close: boolean, request?: RequestHead, more = ""): string {
  const connection = close ? "connection: close\r\n" : request?.minor === 0 ? "connection: keep-alive\r\n" : "";
  const type = /^content-type:/m.test(more) ? "" : "content-type: text/plain\r\n";
  const head = `HTTP/1.1 ${code} ${REASONS[code] ?? "Error"}\r\ncontent-length: ${body.length}\r\n${type}${more}${connection}\r\n`;
  return request?.method === "HEAD" ? head : head + body;
}

const RESETS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "remote connection failure, transport failure reason: delayed connect error: Connection refused",
  ETIMEDOUT: "connection timeout",
  EHOSTUNREACH: "remote connection failure, transport failure reason: delayed connect error: No route to host",
  ENETUNREACH: "remote connection failure, transport failure reason: delayed connect error: Network is unreachable",
  ESECRET: "remote connection failure, transport failure reason: the Secret of originatingTLS is unknown",
};

/** What Node calls the faults of a server's certificate. */
const CERTIFICATE = /CERT|SIGNATURE|ISSUER|ALTNAME|CRL|^INVALID_CA$/;

/** Envoy's words for a server that cannot be reached (`code` of the socket error), or that hung up (`undefined`). */
export function upstreamFailure(code: string | undefined): string {
  const reason = code === undefined ? "connection termination" : (RESETS[code] ?? unknownReset(code));
  return `upstream connect error or disconnect/reset before headers. reset reason: ${reason}`;
}

function unknownReset(code: string): string {
  const fault = CERTIFICATE.test(code) ? `the server's certificate is not accepted: ${code}` : code;
  return `remote connection failure, transport failure reason: ${fault}`;
}

/** Code and body when a server has not answered in time. */
export function timeoutAnswer(upstream: { readonly connected: boolean } | undefined): [code: number, body: string] {
  return upstream?.connected === false ? [503, upstreamFailure("ETIMEDOUT")] : [504, "upstream request timeout"];
}
