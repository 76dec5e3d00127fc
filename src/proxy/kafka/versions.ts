import { NEWEST } from "./api.ts";

/** A list of API versions begins behind size, correlation id and error code. */
const LIST_AT = 10;
const MAX_VARINT_BYTES = 5;

/**
 * Lowers what a broker offers (a whole ApiVersions response, with its size) to what the proxy can read, in place, so that clients speak a
 * version whose topics can be judged. False when the response is not understood.
 */
export function limitVersions(response: Buffer, requestVersion: number): boolean {
  if (response.length < LIST_AT) return false;
  // A broker that does not know the version of the question answers as to version 0, with an error.
  const flexible = requestVersion >= 3 && response.readInt16BE(8) === 0;
  const list = flexible ? readVarint(response, LIST_AT) : readCount(response);
  if (list === undefined) return false;
  const [count, tags] = flexible ? [list.value - 1, 1] : [list.value, 0];
  const end = list.at + count * (6 + tags);
  if (count < 0 || end > response.length) return false;
  for (let at = list.at; at < end; at += 6 + tags) {
    // Tags of an entry: none were ever defined.
    if (flexible && response[at + 6] !== 0) return false;
    const newest = NEWEST.get(response.readInt16BE(at));
    if (newest !== undefined && response.readInt16BE(at + 4) > newest) response.writeInt16BE(newest, at + 4);
  }
  return true;
}

function readCount(response: Buffer): { readonly value: number; readonly at: number } | undefined {
  return response.length < LIST_AT + 4 ? undefined : { value: response.readInt32BE(LIST_AT), at: LIST_AT + 4 };
}

function readVarint(bytes: Buffer, start: number): { readonly value: number; readonly at: number } | undefined {
  let value = 0;
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if ((byte & 0x80) === 0) return { value, at: start + i + 1 };
  }
  return undefined;
}
