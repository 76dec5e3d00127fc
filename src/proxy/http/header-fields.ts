import { type HttpError, httpError } from "./http-error.ts";

/** One header line. `start` and `end` (behind CR LF) are its place behind the first line of the head. */
export interface HeaderField {
  /** Lower case. */
  readonly name: string;
  /** Without surrounding blanks. */
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

const TOKEN_CHARACTER = table((code) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(code)));
const VALUE_CHARACTER = table((code) => code === 0x09 || (code >= 0x20 && code !== 0x7f));

function table(test: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (test(code) ? 1 : 0));
}

/** RFC 9110 `token`: methods and header names. */
export function isToken(text: string, start = 0, end = text.length): boolean {
  if (start >= end) return false;
  for (let at = start; at < end; at++) if (TOKEN_CHARACTER[text.charCodeAt(at)] !== 1) return false;
  return true;
}

/** No control characters: nothing that ends a line for somebody else. */
export function isFieldValue(text: string, start = 0, end = text.length): boolean {
  for (let at = start; at < end; at++) if (VALUE_CHARACTER[text.charCodeAt(at)] !== 1) return false;
  return true;
}

/**
 * The header lines of a head (latin1), up to the blank line. Refuses folded lines, blanks before the colon, empty names, control
 * characters and bare CR.
 */
export function parseHeaderFields(head: string, maxCount: number): HeaderField[] | HttpError {
  const fields: HeaderField[] = [];
  let at = 0;
  while (head.charCodeAt(at) !== 0x0d) {
    if (fields.length === maxCount) return httpError(431, `more than ${maxCount} headers`);
    const lineEnd = head.indexOf("\n", at) - 1;
    const field = parseHeaderField(head, at, lineEnd);
    if ("status" in field) return field;
    fields.push(field);
    at = lineEnd + 2;
  }
  // The scanner stops at the first blank line, so a CR anywhere else at the start of a line is a bare one.
  return head.charCodeAt(at + 1) === 0x0a ? fields : httpError(400, "carriage return without line feed");
}

function parseHeaderField(head: string, start: number, lineEnd: number): HeaderField | HttpError {
  const first = head.charCodeAt(start);
  if (first === 0x20 || first === 0x09) return httpError(400, "folded header line");
  const colon = head.indexOf(":", start);
  if (colon < 0 || colon > lineEnd || !isToken(head, start, colon)) return httpError(400, "bad header name");
  let from = colon + 1;
  let to = lineEnd;
  while (from < to && isBlank(head.charCodeAt(from))) from++;
  while (to > from && isBlank(head.charCodeAt(to - 1))) to--;
  if (!isFieldValue(head, from, to)) return httpError(400, "control character in a header value");
  return { name: head.slice(start, colon).toLowerCase(), value: head.slice(from, to), start, end: lineEnd + 2 };
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** All values of a header joined by a comma, as Envoy gives them to rules; undefined when there is none. */
export function headerValue(fields: readonly HeaderField[], name: string): string | undefined {
  let value: string | undefined;
  for (const field of fields) if (field.name === name) value = value === undefined ? field.value : `${value},${field.value}`;
  return value;
}

/** Servers of the CGI family take `X_Role` for `X-Role`. */
export function cgiName(name: string): string {
  return name.replaceAll("_", "-");
}

/** There is a header that is not `name`, and may be taken for it. */
export function hasLookalike(fields: readonly HeaderField[], name: string): boolean {
  const alike = cgiName(name);
  return fields.some((field) => field.name !== name && cgiName(field.name) === alike);
}

const NO_ITEMS: readonly string[] = [];

/** The comma-separated items of a header, lower case. */
export function headerItems(fields: readonly HeaderField[], name: string): readonly string[] {
  const value = headerValue(fields, name)?.toLowerCase();
  if (value === undefined) return NO_ITEMS;
  return value.includes(",") ? value.split(",").map((item) => item.trim()) : [value];
}
