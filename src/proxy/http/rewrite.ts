import type { HeaderAction } from "../policy/http-rule.ts";
import { type HeaderField, headerItems } from "./header-fields.ts";
import type { RequestHead } from "./request-head.ts";

/**
 * The head with header actions applied and foreign upgrade offers taken out; the same text when there is nothing to do. Everything
 * else stays byte for byte.
 */
export function rewriteHead(text: string, head: RequestHead, actions: readonly HeaderAction[]): string {
  if (actions.length === 0 && !head.otherUpgrade) return text;
  const removed = new Set<string>(head.otherUpgrade ? ["upgrade", "http2-settings"] : []);
  const added: string[] = [];
  for (const { name, value, mismatch } of actions) {
    if (mismatch === "DELETE" || mismatch === "REPLACE") removed.add(equivalentName(name));
    if (mismatch === "ADD" || mismatch === "REPLACE") added.push(`${name}: ${value}\r\n`);
  }
  // Actions that only log.
  if (removed.size === 0 && added.length === 0) return text;
  return exchangeHeaders(text, head.headers, (name) => removed.has(equivalentName(name)), added.join(""));
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

/** Servers of the CGI family take `X_Role` for `X-Role`: what removes one removes the other. */
function equivalentName(name: string): string {
  return name.replaceAll("_", "-");
}
