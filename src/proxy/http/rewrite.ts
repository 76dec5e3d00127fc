import { passSettings } from "../http2/h2c.ts";
import type { HeaderAction } from "../policy/http-rule.ts";
import { cgiName, type HeaderField, headerItems } from "./header-fields.ts";
import { CONNECTION_OPTIONS, type RequestHead } from "./request-head.ts";

/** Methods whose content means nothing (RFC 9110 §9.3), so that many servers do not read it. */
const WITHOUT_CONTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "CONNECT"]);

/**
 * The request has a body that its server may leave in the connection, and then take for the next request, which nobody judged. So it is the last one
 * of its connection.
 */
export function hasStrayBody({ method, framing }: RequestHead): boolean {
  return framing.kind !== "none" && WITHOUT_CONTENT.has(method);
}

/**
 * The head with header actions applied, foreign upgrade offers taken out, settings for HTTP/2 as we pass them on and the connection's end announced where it has to
 * be; the same text when there is nothing to do. Everything else stays byte for byte.
 */
export function rewriteHead(text: string, head: RequestHead, actions: readonly HeaderAction[]): string {
  if (!head.h2c) return rewrite(text, head, actions, head.otherUpgrade);
  const settings = passSettings(head);
  return settings === undefined ? rewrite(text, head, actions, true) : rewrite(text, head, [...actions, settings], false);
}

function rewrite(text: string, head: RequestHead, actions: readonly HeaderAction[], withoutOffers: boolean): string {
  const isLast = head.keepAlive && hasStrayBody(head);
  if (actions.length === 0 && !withoutOffers && !isLast) return text;
  const removed = new Set<string>(withoutOffers ? ["upgrade", "http2-settings"] : []);
  const added: string[] = [];
  for (const { name, value, mismatch } of actions) {
    if (mismatch === "DELETE" || mismatch === "REPLACE") removed.add(cgiName(name));
    if (mismatch === "ADD" || mismatch === "REPLACE") added.push(`${name}: ${value}\r\n`);
  }
  const options = connectionOptions(head, isLast, added.length > 0);
  if (options !== undefined) removed.add("connection");
  if (options !== undefined && options.length > 0) added.push(`connection: ${options.join(", ")}\r\n`);
  // Actions that only log.
  if (removed.size === 0 && added.length === 0) return text;
  return exchangeHeaders(text, head.headers, (name) => removed.has(cgiName(name)), added.join(""));
}

/** What `Connection` has to say instead; undefined when it may stay. What it lists goes no further than the next hop, so it must not list what we add. */
function connectionOptions({ headers }: RequestHead, isLast: boolean, adds: boolean): readonly string[] | undefined {
  const options = headerItems(headers, "connection");
  const known = options.filter((option) => CONNECTION_OPTIONS.has(option));
  if (isLast) return lastOptions(known);
  return adds && known.length < options.length ? known : undefined;
}

/** The head of an answer that also tells the client that no further request is answered on its connection. */
export function announceEnd(text: string, headers: readonly HeaderField[]): string {
  const options = lastOptions(headerItems(headers, "connection"));
  const isOld = (name: string) => name === "connection" || name === "keep-alive";
  return exchangeHeaders(text, headers, isOld, `connection: ${options.join(", ")}\r\n`);
}

function lastOptions(options: readonly string[]): readonly string[] {
  return [...options.filter((option) => option !== "keep-alive" && option !== "close"), "close"];
}

function exchangeHeaders(text: string, headers: readonly HeaderField[], isRemoved: (name: string) => boolean, added: string): string {
  const start = text.indexOf("\r\n") + 2;
  let kept = "";
  let at = 0;
  for (const field of headers) {
    if (!isRemoved(field.name)) continue;
    kept += text.slice(at, start + field.start);
    at = start + field.end;
  }
  return `${kept}${text.slice(at, -2)}${added}\r\n`;
}
