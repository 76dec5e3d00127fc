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

/** Up to the reason, which may be missing with its blank. */
const STATUS_LINE = /^HTTP\/1\.[01] [1-9][0-9]{2}(?: |\r\n)/;
const [MINOR_AT, CODE_AT, REASON_AT] = [7, 9, 12];

/** Reads a whole response head (latin1, with its blank line) to `request`. All errors are 502: the server's fault. */
export function parseResponseHead(head: string, request: RequestHead, limits: HttpLimits): ResponseHead | HttpError {
  const lineEnd = head.indexOf("\r\n");
  if (!STATUS_LINE.test(head) || !isFieldValue(head, REASON_AT, lineEnd)) return httpError(502, "bad status line");
  const minor = head.charCodeAt(MINOR_AT) === 0x31 ? 1 : 0;
  const headers = parseHeaderFields(head.slice(lineEnd + 2), limits.headerCount);
  if (!Array.isArray(headers)) return httpError(502, headers.reason);
  const code = Number(head.slice(CODE_AT, REASON_AT));
  const tunnel = code === 101 || (request.method === "CONNECT" && code >= 200 && code < 300);
  const agreed = request.upgrade || (request.h2c && headerItems(headers, "upgrade").join() === "h2c");
  if (code === 101 && !agreed) return httpError(502, "101 without a request to switch protocols");
  const interim = code < 200 && code !== 101;
  const framing = interim || tunnel ? ({ kind: "none" } as const) : responseFraming(code, request.method, minor, headers);
  if ("status" in framing) return framing;
  const connection = headerItems(headers, "connection");
  const persistent = !connection.includes("close") && (minor === 1 || connection.includes("keep-alive"));
  return { code, headers, framing, interim, tunnel, keepAlive: persistent && framing.kind !== "until-close" };
}

/** The same head means the same as an answer to either. */
export function isAnsweredAlike(one: RequestHead, other: RequestHead): boolean {
  return one === other || (one.method === other.method && one.upgrade === other.upgrade && one.h2c === other.h2c);
}

function responseFraming(code: number, method: string, minor: 0 | 1, headers: readonly HeaderField[]): ResponseFraming | HttpError {
  if (method === "HEAD" || code === 204 || code === 304) return { kind: "none" };
  const encodings = headerItems(headers, "transfer-encoding");
  const lengths = headerItems(headers, "content-length");
  if (encodings.length > 0) {
    if (lengths.length > 0) return httpError(502, "both Content-Length and Transfer-Encoding");
    if (encodings.length === 1 && encodings[0] === "chunked" && minor === 1) return { kind: "chunked" };
    return httpError(502, "unsupported Transfer-Encoding");
  }
  const value = lengths[0];
  if (lengths.some((other) => other !== value)) return httpError(502, "several Content-Lengths");
  if (value === undefined) return { kind: "until-close" };
  const length = parseLength(value);
  if (length === undefined) return httpError(502, "bad Content-Length");
  return length === 0 ? { kind: "none" } : { kind: "length", length };
}
