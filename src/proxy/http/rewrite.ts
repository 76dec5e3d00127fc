import type { HeaderAction } from "../policy/http-rule.ts";
import { cgiName, type HeaderField, headerItems } from "./header-fields.ts";
import { CONNECTION_OPTIONS, type RequestHead } from "./request-head.ts";

/**
 * The head with header actions applied and foreign upgrade offers taken out; the same text when there is nothing to do. Everything
 * else stays byte for byte.
 */
export function rewriteHead(text: string, head: RequestHead, actions: readonly HeaderAction[]): string {
  if (actions.length === 0 && !head.otherUpgrade) return text;
  const removed = new Set<string>(head.otherUpgrade ? ["upgrade", "http2-settings"] : []);
  const added: string[] = [];
  for (const { name, value, mismatch } of actions) {
    if (mismatch === "DELETE" || mismatch === "REPLACE") removed.add(cgiName(name));
    if (mismatch === "ADD" || mismatch === "REPLACE") added.push(`${name}: ${value}\r\n`);
  }
  if (added.length > 0) keepAdded(head, removed, added);
  // Actions that only log.
  if (removed.size === 0 && added.length === 0) return text;
  return exchangeHeaders(text, head.headers, (name) => removed.has(cgiName(name)), added.join(""));
}

/** What `Connection` lists goes no further than the next hop: a client that lists what we add would have it taken away again. */
function keepAdded({ headers }: RequestHead, removed: Set<string>, added: string[]): void {
  const options = headerItems(headers, "connection");
  const known = options.filter((option) => CONNECTION_OPTIONS.has(option));
  if (known.length === options.length) return;
  removed.add("connection");
  if (known.length > 0) added.push(`connection: ${known.join(", ")}\r\n`);
}

/** The head of an answer that also tells the client that no further request is answered on its connection. */
export function announceEnd(text: string, headers: readonly HeaderField[]): string {
  const options = headerItems(headers, "connection").filter((option) => option !== "keep-alive" && option !== "close");
  const isOld = (name: string) => name === "connection" || name === "keep-alive";
  return exchangeHeaders(text, headers, isOld, `connection: ${[...options, "close"].join(", ")}\r\n`);
}

function exchangeHeaders(text: string, headers: readonly HeaderField[], isRemoved: (name: string) => boolean, added: string): string {
  let kept = "";
  let at = 0;
  for (const field of headers) {
    if (!isRemoved(field.name)) continue;
    kept += text.slice(at, field.start);
    at = field.end;
  }
  return `${kept}${text.slice(at, -2)}${added}\r\n`;
}
