import { FLAG, FRAME, FRAME_HEAD, MAX_PAYLOAD } from "./frame.ts";

const SIZE = 64 * 1024;
const EMPTY = Buffer.alloc(0);
/** Buffers that nobody fills at the moment: a connection needs one only while it works. */
const spare: Buffer[] = [];

/** Frames on their way to one side, gathered so that they are sent together. */
export class Outbox {
  readonly #send: (bytes: Buffer) => void;
  #buffer: Buffer | undefined;
  #used = 0;
  /** Bytes that go on as they are and lie together so far. */
  #run: Buffer = EMPTY;
  #from = 0;
  #to = 0;
  /** Of the last goodbye. */
  #lastStream = 0x7fff_ffff;

  /** `send` must be done with the bytes when it returns. */
  constructor(send: (bytes: Buffer) => void) {
    this.#send = send;
  }

  /** Passes on bytes of `input`, which must stay as they are until `flush`. */
  pass(input: Buffer, from: number, to: number): void {
    if (this.#run === input && this.#to === from) {
      this.#to = to;
      return;
    }
    this.#endRun();
    [this.#run, this.#from, this.#to] = [input, from, to];
  }

  frame(type: number, flags: number, stream: number, payload: Buffer = EMPTY): void {
    this.#head(payload.length, type, flags, stream);
    this.#add(payload, 0, payload.length);
  }

  /** A header block in as many frames as it needs. */
  headers(stream: number, block: Buffer, endStream: boolean): void {
    let type: number = FRAME.headers;
    let flags = endStream ? FLAG.endStream : 0;
    let at = 0;
    do {
      const end = Math.min(block.length, at + MAX_PAYLOAD);
      this.#head(end - at, type, end === block.length ? flags | FLAG.endHeaders : flags, stream);
      this.#add(block, at, end);
      [type, flags, at] = [FRAME.continuation, 0, end];
    } while (at < block.length);
  }

  /** The whole body of a stream. */
  body(stream: number, body: Buffer): void {
    for (let at = 0; at < body.length; at += MAX_PAYLOAD) {
      const end = Math.min(body.length, at + MAX_PAYLOAD);
      this.frame(FRAME.data, end === body.length ? FLAG.endStream : 0, stream, body.subarray(at, end));
    }
  }

  reset(stream: number, code: number): void {
    this.#number(FRAME.rstStream, stream, code);
  }

  windowUpdate(stream: number, bytes: number): void {
    this.#number(FRAME.windowUpdate, stream, bytes);
  }

  /** The number of the last stream never rises again (RFC 9113 §6.8): two that say goodbye at a time, the server and we, must not contradict each other. */
  goaway(lastStream: number, code: number, reason: string): void {
    this.#lastStream = Math.min(this.#lastStream, lastStream);
    const payload = Buffer.alloc(8 + reason.length);
    payload.writeUInt32BE(this.#lastStream, 0);
    payload.writeUInt32BE(code, 4);
    payload.write(reason, 8, "latin1");
    this.frame(FRAME.goaway, 0, 0, payload);
  }

  /** Sends what there is. */
  flush(): void {
    if (this.#used === 0) this.#sendRun();
    else {
      this.#endRun();
      this.#sendBuffer();
    }
    if (this.#buffer !== undefined) spare.push(this.#buffer);
    this.#buffer = undefined;
  }

  #number(type: number, stream: number, value: number): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(value, 0);
    this.frame(type, 0, stream, payload);
  }

  #head(length: number, type: number, flags: number, stream: number): void {
    this.#endRun();
    const buffer = this.#room(FRAME_HEAD);
    const at = this.#used;
    buffer[at] = length >> 16;
    buffer[at + 1] = length >> 8;
    buffer[at + 2] = length;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    buffer.writeUInt32BE(stream, at + 5);
    this.#used += FRAME_HEAD;
  }

  #add(bytes: Buffer, from: number, to: number): void {
    const buffer = this.#room(to - from);
    this.#used += bytes.copy(buffer, this.#used, from, to);
  }

  #room(bytes: number): Buffer {
    if (this.#used + bytes > SIZE) this.#sendBuffer();
    this.#buffer ??= spare.pop() ?? Buffer.allocUnsafeSlow(SIZE);
    return this.#buffer;
  }

  /** What was passed on so far goes before what comes now. */
  #endRun(): void {
    const length = this.#to - this.#from;
    if (length === 0) return;
    if (this.#used + length > SIZE) {
      this.#sendBuffer();
      this.#sendRun();
      return;
    }
    this.#add(this.#run, this.#from, this.#to);
    [this.#run, this.#from, this.#to] = [EMPTY, 0, 0];
  }

  #sendRun(): void {
    const [run, from, to] = [this.#run, this.#from, this.#to];
    [this.#run, this.#from, this.#to] = [EMPTY, 0, 0];
    if (from < to) this.#send(run.subarray(from, to));
  }

  #sendBuffer(): void {
    const used = this.#used;
    this.#used = 0;
    if (used > 0 && this.#buffer !== undefined) this.#send(this.#buffer.subarray(0, used));
  }
}
