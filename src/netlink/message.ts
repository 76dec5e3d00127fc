/** Netlink messages and attributes (linux/netlink.h), little-endian as the machines BPF runs on here. */

export const NLM = { REQUEST: 1, ACK: 4, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400, DUMP: 0x300 } as const;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER = 16;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const NLA_TYPE_MASK = 0x3fff;

/** Collects messages into one buffer that grows. */
export class MessageWriter {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;
  #start = 0;
  #sequence: number;

  constructor(firstSequence: number) {
    this.#sequence = firstSequence;
  }

  /** Begins a message with its fixed part; what follows are its attributes. */
  begin(type: number, flags: number, fixed: Uint8Array): void {
    this.#close();
    this.#start = this.#at;
    this.#room(HEADER + fixed.length);
    this.#buffer.writeUInt16LE(type, this.#at + 4);
    this.#buffer.writeUInt16LE(flags | NLM.REQUEST, this.#at + 6);
    this.#buffer.writeUInt32LE(this.#sequence++, this.#at + 8);
    this.#buffer.writeUInt32LE(0, this.#at + 12);
    this.#at += HEADER;
    this.raw(fixed);
  }

  bytes(type: number, value: Uint8Array): void {
    this.#room(4);
    this.#buffer.writeUInt16LE(4 + value.length, this.#at);
    this.#buffer.writeUInt16LE(type, this.#at + 2);
    this.#at += 4;
    this.raw(value);
  }

  text(type: number, value: string): void {
    this.bytes(type, Buffer.from(`${value}\0`));
  }

  u32(type: number, value: number): void {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeUInt32LE(value >>> 0);
    this.bytes(type, bytes);
  }

  /** Attributes inside an attribute; `fixed` comes before them. */
  nest(type: number, write: () => void, fixed: Uint8Array = Buffer.alloc(0)): void {
    this.#room(4);
    const start = this.#at;
    this.#buffer.writeUInt16LE(type, start + 2);
    this.#at += 4;
    this.raw(fixed);
    write();
    this.#buffer.writeUInt16LE(this.#at - start, start);
  }

  /** Everything written, ready to send. */
  finish(): Buffer {
    this.#close();
    return this.#buffer.subarray(0, this.#at);
  }

  /** Bytes and their padding to 4. */
  raw(value: Uint8Array): void {
    const padded = (value.length + 3) & ~3;
    this.#room(padded);
    this.#buffer.fill(0, this.#at + value.length, this.#at + padded);
    this.#buffer.set(value, this.#at);
    this.#at += padded;
  }

  #close(): void {
    if (this.#at > this.#start) this.#buffer.writeUInt32LE(this.#at - this.#start, this.#start);
  }

  #room(size: number): void {
    if (this.#at + size <= this.#buffer.length) return;
    const bigger = Buffer.allocUnsafe(2 * this.#buffer.length + size);
    this.#buffer.copy(bigger, 0, 0, this.#at);
    this.#buffer = bigger;
  }
}

export type Answer =
  | { readonly kind: "data"; readonly sequence: number; readonly type: number; readonly body: Buffer }
  /** `errno` 0 acknowledges. */
  | { readonly kind: "ack"; readonly sequence: number; readonly errno: number; readonly words: string }
  | { readonly kind: "done"; readonly sequence: number };

/** The messages of one datagram. Bodies are views of it. */
export function* readAnswers(datagram: Buffer): Generator<Answer> {
  for (let at = 0; at + HEADER <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER) return;
    const type = datagram.readUInt16LE(at + 4);
    const flags = datagram.readUInt16LE(at + 6);
    const sequence = datagram.readUInt32LE(at + 8);
    const body = datagram.subarray(at + HEADER, at + length);
    if (type === NLMSG_DONE) yield { kind: "done", sequence };
    else if (type === NLMSG_ERROR) yield { kind: "ack", sequence, errno: -body.readInt32LE(0), words: wordsOf(body, flags) };
    else yield { kind: "data", sequence, type, body };
    at += (length + 3) & ~3;
  }
}

function wordsOf(body: Buffer, flags: number): string {
  if ((flags & NLM_F_ACK_TLVS) === 0) return "";
  const request = (flags & NLM_F_CAPPED) !== 0 ? HEADER : body.readUInt32LE(4);
  const message = attributes(body, 4 + ((request + 3) & ~3)).get(NLMSGERR_ATTR_MSG);
  return message ? textOf(message) : "";
}

/** Attributes by type from `offset` on; of several of a type the last. */
export function attributes(body: Buffer, offset: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = offset; at + 4 <= body.length; ) {
    const length = body.readUInt16LE(at);
    if (length < 4) break;
    found.set(body.readUInt16LE(at + 2) & NLA_TYPE_MASK, body.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** A zero-terminated string. */
export function textOf(value: Buffer | undefined): string {
  return value ? value.toString("utf8").replace(/\0.*$/s, "") : "";
}
