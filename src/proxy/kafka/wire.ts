/** The primitive types of Kafka's protocol (kafka.apache.org/protocol, "Protocol Primitive Types"): everything is big-endian. */

/** Bytes that are not what their type says. */
export class KafkaFormatError extends Error {}

/** No list of ours or theirs is longer. */
const MAX_ITEMS = 100_000;

export class KafkaReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  #take(count: number): number {
    const from = this.#at;
    if (count < 0 || from + count > this.#bytes.length) throw new KafkaFormatError("the request is shorter than it says");
    this.#at = from + count;
    return from;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  skip(count: number): void {
    this.#take(count);
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#take(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  /** Null for length −1. */
  string(): string | null {
    const length = this.int16();
    if (length < 0) return null;
    const from = this.#take(length);
    return this.#bytes.toString("utf8", from, from + length);
  }

  /** UNSIGNED_VARINT: seven bits a byte, the lowest first. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.#bytes.readUInt8(this.#take(1));
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new KafkaFormatError("a number is too long");
  }

  /** Passes over the tagged fields of a flexible version. */
  tags(): void {
    for (let left = this.varint(); left > 0; left--) {
      this.varint();
      this.skip(this.varint());
    }
  }

  int64(): number {
    return Number(this.#bytes.readBigInt64BE(this.#take(8)));
  }

  /** Empty for length −1. */
  bytes(): Buffer {
    const length = this.int32();
    const from = this.#take(Math.max(length, 0));
    return this.#bytes.subarray(from, from + Math.max(length, 0));
  }

  /** Null for length −1. */
  array<T>(item: () => T): T[] | null {
    const length = this.int32();
    if (length < 0) return null;
    if (length > MAX_ITEMS) throw new KafkaFormatError("a list is too long");
    return Array.from({ length }, item);
  }
}

export class KafkaWriter {
  readonly #parts: Buffer[] = [];

  #number(size: number, write: (into: Buffer) => void): this {
    const part = Buffer.alloc(size);
    write(part);
    this.#parts.push(part);
    return this;
  }

  int8(value: number): this {
    return this.#number(1, (into) => into.writeInt8(value));
  }

  int16(value: number): this {
    return this.#number(2, (into) => into.writeInt16BE(value));
  }

  int32(value: number): this {
    return this.#number(4, (into) => into.writeInt32BE(value));
  }

  int64(value: number): this {
    return this.#number(8, (into) => into.writeBigInt64BE(BigInt(value)));
  }

  string(value: string | null): this {
    if (value === null) return this.int16(-1);
    const text = Buffer.from(value, "utf8");
    this.int16(text.length);
    this.#parts.push(text);
    return this;
  }

  bytes(value: Buffer): this {
    this.int32(value.length);
    this.#parts.push(value);
    return this;
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.int32(items.length);
    for (const item of items) write(item);
    return this;
  }

  /** A whole message with its size in front. */
  message(): Buffer {
    const body = Buffer.concat(this.#parts);
    const size = Buffer.alloc(4);
    size.writeInt32BE(body.length);
    return Buffer.concat([size, body]);
  }
}
