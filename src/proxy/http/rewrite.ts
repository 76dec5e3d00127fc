import type { HeaderAction } from "../policy/http-rule.ts";
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
  let kept = "";
  let at = 0;
  for (const field of head.headers) {
    if (!removed.has(equivalentName(field.name))) continue;
    kept += text.slice(at, field.start);
    at = field.end;
  }
  return `${kept}${text.slice(at, -2)}${added.join("")}\r\n`;
}

/** Servers of the CGI family take `X_Role` for `X-Role`: what removes one removes the other. */
function equivalentName(name: string): string {
  return name.replaceAll("_", "-");
}
