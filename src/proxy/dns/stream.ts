const LENGTH_BYTES = 2;

/** Cuts DNS over TCP into messages. Its memory is bounded: one message has at most 64 KiB. */
export class MessageReader {
  #waiting: Buffer = Buffer.alloc(0);

  /** The whole messages that are there with this chunk; each is a buffer of its own. */
  push(chunk: Buffer): Buffer[] {
    let rest = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
    const messages: Buffer[] = [];
    while (rest.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + rest.readUInt16BE(0);
      if (rest.length < end) break;
      messages.push(Buffer.from(rest.subarray(LENGTH_BYTES, end)));
      rest = rest.subarray(end);
    }
    this.#waiting = Buffer.from(rest);
    return messages;
  }
}

/** A message as the stream carries it. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
