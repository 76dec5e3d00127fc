/**
 * The name a TLS client asks for, read from its first message without answering it (RFC 8446 §4.1.2, RFC 6066 §3). Pure; the bytes may come
 * in any pieces, and the message may be spread over several records.
 */

export type ClientHello =
  | {
      /**
       * In lower case, without a final dot; undefined when the client names nobody. The name outside where there may be another inside (ECH), as Cilium's proxy goes by: browsers
       * send that extension even where they hide nothing.
       */
      readonly serverName: string | undefined;
      /** The protocols that it can speak inside, by their names in ALPN; empty when it does not say. */
      readonly protocols: readonly string[];
    }
  | { readonly reason: string };

/** How TLS begins. */
export const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
/** Of a handshake message: its type and length. */
const HEAD_BYTES = 4;
const SERVER_NAME = 0;
const ALPN = 16;
const MAX_RECORD = 16_384;
const MAX_RECORDS = 64;
/** Of one message: real ones have a few kilobytes at most, with post-quantum keys. */
const MAX_HELLO = 32_768;
const HOST_NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

/** The ClientHello that `input` begins with; undefined until there is enough of it, a reason when it can never be one. */
export function readClientHello(input: Buffer): ClientHello | undefined {
  const message = joinRecords(input);
  if (message === undefined || "reason" in message) return message;
  try {
    return parseHello(new Reader(message.body));
  } catch (thrown) {
    if (thrown instanceof Truncated) return { reason: "malformed ClientHello" };
    throw thrown;
  }
}

/** The handshake message in the first records, without its own head. What follows it in its record is nothing that a client may send yet. */
function joinRecords(input: Buffer): { readonly body: Buffer } | { readonly reason: string } | undefined {
  const parts: Buffer[] = [];
  let [head, length] = [Buffer.alloc(0), 0];
  for (let at = 0; ; ) {
    const record = readRecord(input, at);
    if (record === undefined || "reason" in record) return record;
    if (parts.push(record.body) > MAX_RECORDS) return { reason: "ClientHello in too many pieces" };
    at = record.end;
    length += record.body.length;
    // Asked again with every segment that comes, so nothing more is copied before all is there.
    if (head.length < HEAD_BYTES) head = Buffer.concat([head, record.body.subarray(0, HEAD_BYTES - head.length)]);
    if (head[0] !== CLIENT_HELLO) return { reason: "not a ClientHello" };
    if (head.length < HEAD_BYTES) continue;
    const wanted = HEAD_BYTES + head.readUIntBE(1, 3);
    if (wanted > MAX_HELLO) return { reason: "ClientHello too long" };
    if (length > wanted) return { reason: "more than a ClientHello" };
    if (length === wanted) return { body: Buffer.concat(parts).subarray(HEAD_BYTES) };
  }
}

/** One whole record; a reason as soon as its first bytes are not those of a handshake. */
function readRecord(input: Buffer, at: number): { readonly body: Buffer; readonly end: number } | { readonly reason: string } | undefined {
  if ((input[at] ?? HANDSHAKE) !== HANDSHAKE || (input[at + 1] ?? 3) !== 3) return { reason: "not TLS" };
  if (input.length < at + 5) return undefined;
  const length = input.readUInt16BE(at + 3);
  if (length === 0 || length > MAX_RECORD) return { reason: "bad TLS record" };
  const end = at + 5 + length;
  return input.length < end ? undefined : { body: input.subarray(at + 5, end), end };
}

function parseHello(hello: Reader): ClientHello {
  hello.skip(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  if (hello.done) return { serverName: undefined, protocols: [] };
  const extensions = hello.vector(2);
  if (!hello.done) return { reason: "malformed ClientHello" };
  const seen = new Set<number>();
  let serverName: string | undefined;
  let protocols: readonly string[] = [];
  while (!extensions.done) {
    const type = extensions.number(2);
    const body = extensions.vector(2);
    // Two readers could each take another one.
    if (seen.has(type)) return { reason: "an extension comes twice" };
    seen.add(type);
    if (type === ALPN) protocols = readProtocols(body);
    if (type !== SERVER_NAME) continue;
    const name = readServerName(body);
    if (name === undefined) return { reason: "bad server name" };
    serverName = name;
  }
  return { serverName, protocols };
}

function readProtocols(body: Reader): readonly string[] {
  const names: string[] = [];
  for (const list = body.vector(2); !list.done; ) names.push(list.vector(1).text());
  return names;
}

/** Exactly one name, of the one type there is. */
function readServerName(body: Reader): string | undefined {
  const list = body.vector(2);
  const type = list.number(1);
  const name = list.vector(2).text().toLowerCase().replace(/\.$/, "");
  return type === 0 && list.done && body.done && name.length <= 255 && HOST_NAME.test(name) ? name : undefined;
}

class Truncated extends Error {}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  skip(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new Truncated();
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(size: 1 | 2): number {
    return this.skip(size).readUIntBE(0, size);
  }

  /** Bytes with their length before them. */
  vector(sizeBytes: 1 | 2): Reader {
    return new Reader(this.skip(this.number(sizeBytes)));
  }

  text(): string {
    return this.#bytes.toString("latin1", this.#at);
  }
}
