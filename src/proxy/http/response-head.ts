import { type HeaderField, headerItems, isFieldValue, parseHeaderFields } from "./header-fields.ts";
import { type HttpError, httpError } from "./http-error.ts";
import type { HttpLimits } from "./limits.ts";
import { type Framing, parseLength, type RequestHead } from "./request-head.ts";

/** As for requests, and bodies that end with the connection. */
export type ResponseFraming = Framing | { readonly kind: "until-close" };

export interface ResponseHead {
  readonly code: number;
  readonly headers: readonly HeaderField[];
  readonly framing: ResponseFraming;
  readonly keepAlive: boolean;
  /** 1xx: another head follows. */
  readonly interim: boolean;
  /** From here on the connection is not HTTP any more (101, or 2xx to CONNECT). */
  readonly tunnel: boolean;
}

/** Reads a whole response head (latin1, with its blank line) to `request`. All errors are 502: the server's fault. */
export function parseResponseHead(head: string, request: RequestHead, limits: HttpLimits): ResponseHead | HttpError {
  const lineEnd = head.indexOf("\r\n");
  const [, minor, status, reason] = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: (.*))?$/s.exec(head.slice(0, lineEnd)) ?? [];
  if (minor === undefined || (reason !== undefined && !isFieldValue(reason))) return httpError(502, "bad status line");
  const headers = parseHeaderFields(head, lineEnd + 2, limits.headerCount);
  if (!Array.isArray(headers)) return httpError(502, headers.reason);
  const code = Number(status);
  const tunnel = code === 101 || (request.method === "CONNECT" && code >= 200 && code < 300);
  if (code === 101 && !request.upgrade) return httpError(502, "101 without a request to switch protocols");
  const interim = code < 200 && code !== 101;
  const framing = interim || tunnel ? ({ kind: "none" } as const) : responseFraming(code, request.method, minor, headers);
  if ("status" in framing) return framing;
  const connection = headerItems(headers, "connection");
  const persistent = !connection.includes("close") && (minor === "1" || connection.includes("keep-alive"));
  return { code, headers, framing, interim, tunnel, keepAlive: persistent && framing.kind !== "until-close" };
}

function responseFraming(code: number, method: string, minor: string, headers: readonly HeaderField[]): ResponseFraming | HttpError {
  if (method === "HEAD" || code === 204 || code === 304) return { kind: "none" };
  const encodings = headerItems(headers, "transfer-encoding");
  const lengths = new Set(headerItems(headers, "content-length"));
  if (encodings.length > 0) {
    if (lengths.size > 0) return httpError(502, "both Content-Length and Transfer-Encoding");
    if (encodings.length === 1 && encodings[0] === "chunked" && minor === "1") return { kind: "chunked" };
    return httpError(502, "unsupported Transfer-Encoding");
  }
  if (lengths.size > 1) return httpError(502, "several Content-Lengths");
  const [value] = lengths;
  if (value === undefined) return { kind: "until-close" };
  const length = parseLength(value);
  if (length === undefined) return httpError(502, "bad Content-Length");
  return length === 0 ? { kind: "none" } : { kind: "length", length };
}
