import type { DeniedReply } from "../http/local-reply.ts";
import { type HpackField, hpackField } from "./hpack-table.ts";

/** An answer by the proxy itself. */
export interface LocalAnswer {
  readonly fields: readonly HpackField[];
  readonly body: Buffer;
}

/** For whom it is. */
export interface Asker {
  readonly method: string;
  /** gRPC clients understand `grpc-status`, not the codes of HTTP. */
  readonly grpc: boolean;
}

/** What Envoy makes of the codes of its own answers (grpc.github.io/grpc/core/md_doc_statuscodes.html). */
const GRPC_STATUS: Readonly<Record<number, number>> = { 400: 13, 403: 7, 501: 12, 502: 14, 503: 14, 504: 14 };
const NO_BODY = Buffer.alloc(0);

/** Code and text with `more` headers. A gRPC answer is headers alone; so is one whose body the client has no `room` for. */
export function localAnswer(code: number, text: string, asker: Asker, room: number, more: DeniedReply["headers"] = []): LocalAnswer {
  if (asker.grpc) {
    const head = { ":status": "200", "content-type": "application/grpc" };
    return { fields: [...fieldsOf(head), ...grpcTrailers(code, text), ...fieldsOf({}, more)], body: NO_BODY };
  }
  const body = Buffer.from(text, "latin1");
  const fits = body.length <= room || asker.method === "HEAD";
  const length = fits ? { "content-length": String(body.length) } : {};
  const fields = fieldsOf({ ":status": String(code), "content-type": "text/plain", ...length }, more);
  return { fields, body: fits && asker.method !== "HEAD" ? body : NO_BODY };
}

/** How a gRPC call ends. */
export function grpcTrailers(code: number, text: string): readonly HpackField[] {
  // All but what can be printed is escaped, and the escape itself (gRPC over HTTP/2, "Percent-Encoded").
  const message = text.trimEnd().replaceAll(/[^ -$&-~]/gu, encodeURIComponent);
  return fieldsOf({ "grpc-status": String(GRPC_STATUS[code] ?? 2), "grpc-message": message });
}

/** Names are in small letters here, whatever the author wrote (RFC 9113 §8.2.1). */
function fieldsOf(own: Readonly<Record<string, string>>, more: DeniedReply["headers"] = []): HpackField[] {
  return [...Object.entries(own), ...more].map(([name, value]) => hpackField(name.toLowerCase(), value));
}
