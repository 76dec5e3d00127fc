import { Asked } from "../http/asked.ts";
import { isForbiddenTrailer } from "../http/body.ts";
import { cgiName, type HeaderField, isFieldValue, isToken } from "../http/header-fields.ts";
import { type HttpError, httpError } from "../http/http-error.ts";
import { HOST, parseLength, type RequestHead, TARGET } from "../http/request-head.ts";
import type { HeaderAction } from "../policy/http-rule.ts";
import type { FieldList } from "./hpack-decoder.ts";
import { encodeFields } from "./hpack-encoder.ts";
import { type HpackField, hpackField } from "./hpack-table.ts";
import type { Asker } from "./local-answer.ts";

/** What is no request (RFC 9113 §8.1.1): its stream is reset, nobody answers it. */
export interface Malformed {
  readonly malformed: string;
}

/** A request as policy knows it, and what streams need to know of it. */
export interface StreamRequest {
  readonly asked: Asked;
  /** Bytes that its body must have; undefined when it does not say. */
  readonly length: number | undefined;
}

/** A header block of a client, and what follows from it: worked out when it is asked for, once. */
export class ClientBlock {
  readonly #list: FieldList;
  #request: StreamRequest | HttpError | Malformed | undefined;
  #encoded: { readonly actions: readonly HeaderAction[]; readonly block: Buffer } | undefined;

  constructor(list: FieldList) {
    this.#list = list;
  }

  /** As the head of a request. */
  get request(): StreamRequest | HttpError | Malformed {
    this.#request ??= this.#list.tooLong ? httpError(431, "header list too long") : readRequest(this.#list.fields);
    return this.#request;
  }

  get asker(): Asker {
    const value = (wanted: string) => this.#list.fields.find(({ name }) => name === wanted)?.value ?? "";
    return { method: value(":method"), grpc: GRPC.test(value("content-type")) };
  }

  /** What is wrong with it as what comes behind a body; `decided` are the headers that rules go by. */
  trailersFault(decided: ReadonlySet<string>): Malformed | undefined {
    if (this.#list.tooLong) return { malformed: "trailers too long" };
    const head = readHead(this.#list.fields);
    if ("malformed" in head) return head;
    const isForbidden = head.pseudo.size > 0 || head.headers.some(({ name }) => isForbiddenTrailer(name, decided));
    return isForbidden ? { malformed: "forbidden trailer" } : undefined;
  }

  /** For the server, with the rules' actions applied. */
  encoded(actions: readonly HeaderAction[]): Buffer {
    if (this.#encoded?.actions !== actions) this.#encoded = { actions, block: encodeFields(forwardedFields(this.#list.fields, actions)) };
    return this.#encoded.block;
  }
}

const GRPC = /^application\/grpc(?:$|[+;])/;

interface Head {
  readonly pseudo: ReadonlyMap<string, string>;
  readonly headers: readonly HpackField[];
}

const PSEUDO = new Set([":method", ":scheme", ":path", ":authority"]);
/** Of HTTP/1 alone (RFC 9113 §8.2.2). */
const CONNECTION_FIELDS = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
/** Headers of which servers take the first or the last. */
const SINGLE = new Set(["host", "content-length"]);

/** The form of the fields (RFC 9113 §8.2, §8.3). */
function readHead(fields: readonly HpackField[]): Head | Malformed {
  const pseudo = new Map<string, string>();
  const headers: HpackField[] = [];
  for (const field of fields) {
    const { name, value } = field;
    if (!isFieldValue(value) || isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)))
      return { malformed: "bad value" };
    if (name.startsWith(":")) {
      if (!PSEUDO.has(name) || pseudo.has(name) || headers.length > 0) return { malformed: "bad pseudo-header" };
      pseudo.set(name, value);
      continue;
    }
    const wrong = headerFault(field, headers);
    if (wrong !== undefined) return { malformed: wrong };
    headers.push(field);
  }
  return { pseudo, headers };
}

function headerFault({ name, value }: HpackField, before: readonly HpackField[]): string | undefined {
  if (!isToken(name) || /[A-Z]/.test(name)) return "bad header name";
  if (CONNECTION_FIELDS.has(name) || (name === "te" && value.toLowerCase() !== "trailers")) return "header of a connection";
  return SINGLE.has(name) && before.some((field) => field.name === name) ? "header more than once" : undefined;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function readRequest(fields: readonly HpackField[]): StreamRequest | HttpError | Malformed {
  const head = readHead(fields);
  if ("malformed" in head) return head;
  const { pseudo } = head;
  const needed = pseudo.get(":method") === "CONNECT" ? [":authority"] : [":method", ":scheme", ":path"];
  if (needed.some((name) => !pseudo.has(name))) return { malformed: "pseudo-header missing" };
  if (!/^(?:[A-Za-z][A-Za-z0-9+.-]*)?$/.test(pseudo.get(":scheme") ?? "")) return { malformed: "bad scheme" };
  const text = head.headers.find(({ name }) => name === "content-length")?.value;
  const length = text === undefined ? undefined : parseLength(text);
  if (text !== undefined && length === undefined) return { malformed: "bad content-length" };
  const request = requestOfStream(head);
  return "status" in request ? request : { asked: new Asked(request), length };
}

/** The request of a stream in the words of HTTP/1, so that policy and records need not know the difference. What servers could read in different ways is refused. */
function requestOfStream({ pseudo, headers }: Head): RequestHead | HttpError {
  const method = pseudo.get(":method") ?? "";
  const target = pseudo.get(":path") ?? "";
  const named = headers.find(({ name }) => name === "host")?.value;
  const host = pseudo.get(":authority") ?? named ?? "";
  if (!isToken(method)) return httpError(400, "bad method");
  if (!HOST.test(host)) return httpError(400, "bad authority");
  if (named !== undefined && named !== host) return httpError(400, "authority and Host header differ");
  if (method === "CONNECT") return connectRequest(pseudo, headers, host);
  if (!TARGET.test(target) || /%00/.test(target)) return httpError(400, "bad request target");
  if (target === "*" ? method !== "OPTIONS" : !target.startsWith("/")) return httpError(400, "bad request target");
  return { ...COMMON, method, target, path: target, host, headers: joinCookies(headers) };
}

/** What HTTP/2 leaves to its frames. */
const COMMON = {
  ...({ minor: 1, protocol: "HTTP/2", framing: { kind: "none" } } as const),
  ...{ keepAlive: true, upgrade: false, h2c: false, otherUpgrade: false, expectContinue: false },
} satisfies Partial<RequestHead>;

/** RFC 9113 §8.5: a tunnel through one stream, which names a host and port and nothing else. Rules see it as in HTTP/1, without a path. */
function connectRequest(pseudo: Head["pseudo"], headers: Head["headers"], host: string): RequestHead | HttpError {
  if (pseudo.has(":path") || pseudo.has(":scheme")) return httpError(400, "CONNECT with a path or a scheme");
  if (!/:[0-9]{1,5}$/.test(host)) return httpError(400, "CONNECT without a port");
  return { ...COMMON, method: "CONNECT", target: host, path: "", host, headers: joinCookies(headers) };
}

/** A cookie may come in pieces, which mean the same as the whole (RFC 9113 §8.2.3). */
function joinCookies(headers: readonly HpackField[]): readonly HeaderField[] {
  const cookies = headers.filter(({ name }) => name === "cookie");
  if (cookies.length < 2) return headers;
  const whole = hpackField("cookie", cookies.map(({ value }) => value).join("; "));
  return [...headers.filter(({ name }) => name !== "cookie"), whole];
}

/** What the server gets. What removes a header removes also those that may be taken for it. */
function forwardedFields(fields: readonly HpackField[], actions: readonly HeaderAction[]): readonly HpackField[] {
  let forwarded = fields;
  for (const { name, value, mismatch } of actions) {
    if (mismatch === "DELETE" || mismatch === "REPLACE") forwarded = forwarded.filter((field) => cgiName(field.name) !== cgiName(name));
    if (mismatch === "ADD" || mismatch === "REPLACE") forwarded = [...forwarded, hpackField(name, value)];
  }
  return forwarded;
}
