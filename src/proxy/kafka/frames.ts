/** Cuts a stream into Kafka's messages, each with its 4 bytes of size in front. */
export class KafkaFrames {
  #chunks: Buffer[] = [];
  #length = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** Bytes held. */
  get length(): number {
    return this.#length;
  }

  /** Size of the next message, its own 4 bytes included; undefined until that is known, null when it is out of bounds. */
  get nextSize(): number | undefined | null {
    if (this.#length < 4) return undefined;
    const size = this.#first(4).readInt32BE(0);
    return size < 0 || size > this.#maxBytes ? null : size + 4;
  }

  /** Gives away up to `count` held bytes. */
  take(count: number): Buffer {
    const first = this.#first(Math.min(count, this.#length));
    const taken = first.subarray(0, count);
    this.#length -= taken.length;
    if (taken.length === first.length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(taken.length);
    return taken;
  }

  /** The first chunk, made at least so long. */
  #first(count: number): Buffer {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= count) return first;
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }
}
