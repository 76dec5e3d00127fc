const FIRST_BYTES = 16 * 1024;
/** A longer string is faster in one call than byte by byte. */
const SHORT_STRING = 64;
const HALF = 0x1_0000_0000;

/**
 * Protobuf's wire format, written from the end to the beginning: the length of what has just been written is known when it is
 * needed, so that nothing is measured first. What is written first comes last.
 */
export class BackwardOutput {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #at = FIRST_BYTES;

  /** Bytes written so far. */
  get length(): number {
    return this.#bytes.length - this.#at;
  }

  /** A copy of the last `length` bytes that were written, which stay. */
  copy(length: number): Buffer {
    const copied = Buffer.allocUnsafe(length);
    this.#bytes.copy(copied, 0, this.#at, this.#at + length);
    return copied;
  }

  /** Forgets everything written. */
  clear(): void {
    this.#at = this.#bytes.length;
  }

  byte(value: number): void {
    if (this.#at < 1) this.#grow(1);
    this.#bytes[--this.#at] = value;
  }

  /** Four bytes, the high one first. */
  uint32(value: number): void {
    if (this.#at < 4) this.#grow(4);
    this.#at -= 4;
    this.#bytes.writeUInt32BE(value, this.#at);
  }

  raw(bytes: Uint8Array): void {
    if (this.#at < bytes.length) this.#grow(bytes.length);
    this.#at -= bytes.length;
    this.#bytes.set(bytes, this.#at);
  }

  /** A varint of up to 53 bits. */
  varint(value: number): void {
    if (value < 0x80) this.byte(value);
    else if (value < HALF) this.#varint32(value);
    else this.varint64(BigInt(value));
  }

  /** A varint of 64 bits, which the two's complement of a negative number needs too. */
  varint64(value: bigint): void {
    if (value >= 0n && value <= 0xffff_ffffn) {
      this.varint(Number(value));
      return;
    }
    if (this.#at < 10) this.#grow(10);
    const unsigned = BigInt.asUintN(64, value);
    let low = Number(unsigned & 0xfff_ffffn);
    let rest = Number(unsigned >> 28n);
    const start = this.#at - (rest < 0x80 ? 5 : Math.ceil((29 + Math.floor(Math.log2(rest))) / 7));
    let at = start;
    for (let i = 0; i < 4; i++) {
      this.#bytes[at++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[at++] = (rest % 0x80) | 0x80;
    this.#bytes[at] = rest;
    this.#at = start;
  }

  /** UTF-8, without its length. */
  string(text: string): void {
    const { length } = text;
    if (this.#at < length * 3) this.#grow(length * 3);
    if (length > SHORT_STRING) {
      this.#utf8(text);
      return;
    }
    const bytes = this.#bytes;
    let at = this.#at;
    for (let i = length - 1; i >= 0; i--) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) {
        this.#utf8(text);
        return;
      }
      bytes[--at] = code;
    }
    this.#at = at;
  }

  #utf8(text: string): void {
    this.#at -= Buffer.byteLength(text);
    this.#bytes.write(text, this.#at);
  }

  #varint32(value: number): void {
    if (this.#at < 5) this.#grow(5);
    const size = value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
    this.#at -= size;
    let at = this.#at;
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.#bytes[at++] = (rest & 0x7f) | 0x80;
    this.#bytes[at] = rest;
  }

  #grow(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(this.#bytes.length * 2 + needed);
    const at = grown.length - this.length;
    this.#bytes.copy(grown, at, this.#at);
    this.#at = at;
    this.#bytes = grown;
  }
}
