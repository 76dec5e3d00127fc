import { type HeaderField, headerItems, headerValue, isToken, parseHeaderFields } from "./header-fields.ts";
import { type HttpError, httpError } from "./http-error.ts";
import type { HttpLimits } from "./limits.ts";

/** How the bytes behind a head are counted: so many, chunks, or none. */
export type Framing = { readonly kind: "none" } | { readonly kind: "length"; readonly length: number } | { readonly kind: "chunked" };

export interface RequestHead {
  readonly method: string;
  /** As sent. */
  readonly target: string;
  /** What rules call the path: path and query of the target; empty for CONNECT, `*` for the asterisk form. */
  readonly path: string;
  /** The Host header as sent; empty for HTTP/1.0 without one. */
  readonly host: string;
  readonly minor: 0 | 1;
  readonly protocol: "HTTP/1" | "HTTP/1.1" | "HTTP/2";
  readonly headers: readonly HeaderField[];
  readonly framing: Framing;
  readonly keepAlive: boolean;
  /** Wants to go on with WebSocket on this connection. */
  readonly upgrade: boolean;
  /** Offers to go on with HTTP/2, in the one way that both sides can follow. */
  readonly h2c: boolean;
  /** Offers to leave HTTP/1.1 in another way (TLS, several at once, …): the offer is taken out, as a server may ignore it anyway. */
  readonly otherUpgrade: boolean;
  readonly expectContinue: boolean;
}

/** Characters of a request target: no blanks, no fragment, no raw bytes beyond ASCII. */
export const TARGET = /^[\x21\x22\x24-\x7e]+$/;
export const HOST = /^(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/;
const MAX_METHOD = 32;

/** How a connection begins whose client speaks HTTP/2 without asking (RFC 9113 §3.4); the rest of it is `SM` and an empty line. */
export const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\n";

/** Reads a whole request head (latin1, with its blank line). */
export function parseRequestHead(head: string, limits: HttpLimits): RequestHead | HttpError {
  const line = parseRequestLine(head);
  if ("status" in line) return line;
  const section = parseHeaderSection(head.slice(line.end), line.minor, limits);
  return "status" in section ? section : requestOf(line, section);
}

export interface RequestLine {
  readonly method: string;
  readonly target: string;
  readonly minor: 0 | 1;
  /** Where the headers begin. */
  readonly end: number;
}

/** Reads the first line of a head. */
export function parseRequestLine(head: string): RequestLine | HttpError {
  const lineEnd = head.indexOf("\r\n");
  const end = lineEnd + 2;
  const line = head.slice(0, lineEnd);
  const first = line.indexOf(" ");
  const second = line.indexOf(" ", first + 1);
  const version = line.slice(second + 1);
  if (first < 0 || first > MAX_METHOD || !isToken(line, 0, first)) return httpError(400, "bad method");
  if (second < 0) return httpError(400, "bad request line");
  const [method, target] = [line.slice(0, first), line.slice(first + 1, second)];
  if (!TARGET.test(target) || version.includes(" ")) return httpError(400, "bad request target");
  if (version === "HTTP/1.1") return { method, target, minor: 1, end };
  if (version === "HTTP/1.0") return { method, target, minor: 0, end };
  if (version === "HTTP/2.0" && method === "PRI") return httpError(505, "HTTP/2 begins at the start of a connection");
  return /^HTTP\/[0-9]\.[0-9]$/.test(version) ? httpError(505, "unsupported HTTP version") : httpError(400, "bad request line");
}

/** The headers of a request and what follows from them alone. */
export interface HeaderSection {
  readonly text: string;
  readonly minor: 0 | 1;
  readonly headers: readonly HeaderField[];
  readonly host: string;
  readonly framing: Framing;
  /** Items of `Connection` and `Upgrade`. */
  readonly connection: readonly string[];
  readonly protocols: readonly string[];
  readonly expectContinue: boolean;
}

/** Reads everything behind the first line of a head. */
export function parseHeaderSection(text: string, minor: 0 | 1, limits: HttpLimits): HeaderSection | HttpError {
  const headers = parseHeaderFields(text, limits.headerCount);
  if (!Array.isArray(headers)) return headers;
  const host = requestHost(minor, headers);
  if (typeof host !== "string") return host;
  const framing = requestFraming(text, minor, headers);
  if ("status" in framing) return framing;
  const connection = headerItems(headers, "connection");
  // A listed header is removed by the next hop: the server would not see what the policy judged.
  const hidden = connection.find((option) => !CONNECTION_OPTIONS.has(option) && headers.some(({ name }) => name === option));
  if (hidden !== undefined) return httpError(400, "Connection lists a header of this request");
  const expect = headerValue(headers, "expect");
  if (expect !== undefined && expect.toLowerCase() !== "100-continue") return httpError(400, "bad Expect header");
  const protocols = headerItems(headers, "upgrade");
  return { text, minor, headers, host, framing, connection, protocols, expectContinue: expect !== undefined && minor === 1 };
}

function requestHost(minor: 0 | 1, headers: readonly HeaderField[]): string | HttpError {
  const hosts = headers.filter(({ name }) => name === "host");
  if (hosts.length > 1) return httpError(400, "more than one Host header");
  const host = hosts[0]?.value;
  if (host === undefined) return minor === 0 ? "" : httpError(400, "no Host header");
  return HOST.test(host) ? host : httpError(400, "bad Host header");
}

/** RFC 9112 §3.2: origin form, absolute form (only for the host that Host names), authority form (CONNECT), asterisk (OPTIONS). */
function targetPath(method: string, target: string, host: string): string | HttpError {
  if (method === "CONNECT") {
    return target === host && /:[0-9]{1,5}$/.test(target) ? "" : httpError(400, "CONNECT target and Host header differ");
  }
  if (target.startsWith("/")) return target.includes("%00") ? httpError(400, "escaped NUL in the path") : target;
  if (target === "*") return method === "OPTIONS" ? "*" : httpError(400, "asterisk target without OPTIONS");
  const [, authority, path = ""] = /^http:\/\/([^/?]+)(.*)$/i.exec(target) ?? [];
  if (authority === undefined) return httpError(400, "bad request target");
  if (authority.toLowerCase() !== host.toLowerCase()) return httpError(400, "target and Host header name different hosts");
  return path.startsWith("/") && !path.includes("%00") ? path : httpError(400, "bad request target");
}

/** What some servers take for the names of the headers that frame a body (as CGI does). */
const FRAMING_ALIKE = /^(?:content_length|transfer_encoding)$/;

function requestFraming(text: string, minor: 0 | 1, headers: readonly HeaderField[]): Framing | HttpError {
  if (headers.some(({ name }) => FRAMING_ALIKE.test(name)))
    return httpError(400, "a header that may be read as Content-Length or Transfer-Encoding");
  const encodings = headers.filter(({ name }) => name === "transfer-encoding");
  const lengths = headers.filter(({ name }) => name === "content-length");
  if (lengths.length > 1) return httpError(400, "more than one Content-Length");
  // A blank by the grammar, which some servers take for a part of the value, and others refuse.
  if ([...encodings, ...lengths].some(({ start, end }) => text.slice(start, end).includes("\t")))
    return httpError(400, "a tab in Content-Length or Transfer-Encoding");
  if (encodings.length > 0) {
    if (lengths.length > 0) return httpError(400, "both Content-Length and Transfer-Encoding");
    if (minor === 0) return httpError(400, "Transfer-Encoding in HTTP/1.0");
    if (encodings.length > 1 || encodings[0]?.value.toLowerCase() !== "chunked") return httpError(400, "unsupported Transfer-Encoding");
    return { kind: "chunked" };
  }
  const value = lengths[0]?.value;
  if (value === undefined) return { kind: "none" };
  const length = parseLength(value);
  if (length === undefined) return httpError(400, "bad Content-Length");
  return length === 0 ? { kind: "none" } : { kind: "length", length };
}

/** Digits only, small enough to be exact; undefined otherwise. */
export function parseLength(value: string): number | undefined {
  return /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined;
}

/** Header names that `Connection` may list in a request: those that every hop removes anyway. */
export const CONNECTION_OPTIONS: ReadonlySet<string> = new Set([
  "close",
  "keep-alive",
  "upgrade",
  "te",
  "http2-settings",
  "proxy-connection",
]);

/** The request that the two parts of a head make. */
export function requestOf({ method, target, minor }: RequestLine, section: HeaderSection): RequestHead | HttpError {
  const { headers, host, framing, connection, protocols, expectContinue } = section;
  const path = targetPath(method, target, host);
  if (typeof path !== "string") return path;
  const wanted = protocols.length > 0 && connection.includes("upgrade") && minor === 1;
  const upgrade = wanted && protocols.length === 1 && protocols[0] === "websocket" && framing.kind === "none";
  const plain = wanted && protocols.length === 1 && framing.kind === "none" && method !== "CONNECT" && path !== "*";
  const h2c = plain && protocols[0] === "h2c" && connection.includes("http2-settings") && isOnce(headers, "http2-settings");
  return {
    method,
    target,
    path,
    host,
    minor,
    headers,
    framing,
    protocol: minor === 1 ? "HTTP/1.1" : "HTTP/1",
    keepAlive: !connection.includes("close") && (minor === 1 || connection.includes("keep-alive")),
    upgrade,
    h2c,
    otherUpgrade: protocols.length > 0 && !upgrade && !h2c,
    expectContinue,
  };
}

function isOnce(headers: readonly HeaderField[], wanted: string): boolean {
  return headers.filter(({ name }) => name === wanted).length === 1;
}
