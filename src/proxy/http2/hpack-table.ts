import type { HeaderField } from "../http/header-fields.ts";

/** A field of a header block; it has no place in a text. */
export interface HpackField extends HeaderField {
  /** Whoever passes it on must say it like this, too: no table may learn it (RFC 7541 §6.2.3). */
  readonly neverIndexed: boolean;
}

/** A field as nobody's secret. */
export function hpackField(name: string, value: string, neverIndexed = false): HpackField {
  return { name, value, start: 0, end: 0, neverIndexed };
}

/** RFC 7541 Appendix A; the first has index 1. */
export const STATIC_TABLE: readonly HpackField[] = [
  ...([
    [":authority", ""],
    [":method", "GET"],
    [":method", "POST"],
    [":path", "/"],
    [":path", "/index.html"],
    [":scheme", "http"],
  ] as const),
  ...([
    [":scheme", "https"],
    [":status", "200"],
    [":status", "204"],
    [":status", "206"],
    [":status", "304"],
    [":status", "400"],
  ] as const),
  ...([
    [":status", "404"],
    [":status", "500"],
    ["accept-charset", ""],
    ["accept-encoding", "gzip, deflate"],
  ] as const),
  ...[
    ...["accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization", "cache-control"],
    ...["content-disposition", "content-encoding", "content-language", "content-length", "content-location", "content-range"],
    ...["content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match"],
    ...["if-range", "if-unmodified-since", "last-modified", "link", "location", "max-forwards", "proxy-authenticate"],
    ...["proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie", "strict-transport-security"],
    ...["transfer-encoding", "user-agent", "vary", "via", "www-authenticate"],
  ].map((name) => [name, ""] as const),
].map(([name, value]) => hpackField(name, value));

/** What a decoder allows until it says otherwise, and the most that ours allow. */
export const TABLE_BYTES = 4096;
/** RFC 7541 §4.1. */
export const FIELD_OVERHEAD = 32;

/** The fields that a header block may speak of by number: the static ones and, behind them, the last that were learned. */
export class FieldTable {
  /** How often it has changed: what was read of a block is good for the same block while this is the same. */
  changes = 0;
  /** Oldest first. */
  readonly #learned: HpackField[] = [];
  #size = 0;
  #max = TABLE_BYTES;

  get max(): number {
    return this.#max;
  }

  /** Undefined when nothing has that number. */
  get(index: number): HpackField | undefined {
    const learned = index - STATIC_TABLE.length;
    return learned <= 0 ? STATIC_TABLE[index - 1] : this.#learned[this.#learned.length - learned];
  }

  learn(field: HpackField): void {
    this.#learned.push(field);
    this.#size += sizeOf(field);
    this.#forget();
  }

  /** From now on it holds so many bytes. */
  resize(max: number): void {
    this.#max = max;
    this.#forget();
  }

  #forget(): void {
    this.changes++;
    while (this.#size > this.#max) this.#size -= sizeOf(this.#learned.shift() as HpackField);
  }
}

/** What a field counts in a table or a list. */
export function sizeOf({ name, value }: HeaderField): number {
  return name.length + value.length + FIELD_OVERHEAD;
}
