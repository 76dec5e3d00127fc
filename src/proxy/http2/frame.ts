/** Frames of HTTP/2: RFC 9113 §4 and §6. */

export const FRAME = {
  ...{ data: 0, headers: 1, priority: 2, rstStream: 3, settings: 4, pushPromise: 5 },
  ...{ ping: 6, goaway: 7, windowUpdate: 8, continuation: 9 },
} as const;

/** `ack` is what `endStream` is in SETTINGS and PING. */
export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** RFC 9113 §7. */
export const CODE = {
  ...{ noError: 0, protocolError: 1, internalError: 2, flowControlError: 3, streamClosed: 5, frameSizeError: 6 },
  ...{ refusedStream: 7, cancel: 8, compressionError: 9, enhanceYourCalm: 11 },
} as const;

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const FRAME_HEAD = 9;
/** The longest payload, both ways: neither side is told that the other takes more. */
export const MAX_PAYLOAD = 16_384;
/** What a window is until somebody says otherwise, and the most that it can be. */
export const [FIRST_WINDOW, MAX_WINDOW] = [65_535, 0x7fff_ffff];

const EMPTY = Buffer.alloc(0);

/** Why a connection cannot go on: for GOAWAY. */
export interface Fault {
  readonly code: number;
  readonly reason: string;
}

/** Says so as a value. */
export function fault(code: keyof typeof CODE, reason: string): Fault {
  return { code: CODE[code], reason };
}

/** Where the frame is that `FrameReader` has found: `input` from `start`; its payload from `body` to `end`. Good until the next one. */
export interface Frame {
  readonly input: Buffer;
  readonly start: number;
  readonly body: number;
  readonly end: number;
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
}

/** Finds the frames in the bytes of one direction, however they were cut. It keeps at most one frame that is not whole. */
export class FrameReader implements Frame {
  input: Buffer = EMPTY;
  start = 0;
  end = 0;
  type = 0;
  flags = 0;
  stream = 0;
  /** A frame is longer than it may be; nothing behind it can be read. */
  oversized = false;
  #chunk: Buffer = EMPTY;
  #at = 0;
  /** The beginning of a frame whose end has not come. */
  #held: Buffer = EMPTY;

  get body(): number {
    return this.start + FRAME_HEAD;
  }

  /** Bytes to look at until `next` finds nothing more in them; what is left then is copied. */
  lend(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** Goes on to the next whole frame; false when there is none. */
  next(): boolean {
    if (this.oversized) return false;
    if (this.#held.length > 0) return this.#finishHeld();
    const left = this.#chunk.length - this.#at;
    if (left >= FRAME_HEAD) {
      const end = this.#at + FRAME_HEAD + this.#chunk.readUIntBE(this.#at, 3);
      if (end <= this.#chunk.length || end - this.#at > FRAME_HEAD + MAX_PAYLOAD) return this.#show(this.#chunk, this.#at, end);
    }
    if (left > 0) this.#held = Buffer.from(this.#chunk.subarray(this.#at));
    this.#chunk = EMPTY;
    this.#at = 0;
    return false;
  }

  /** A copy of the present frame and of all behind it, which then were not read. */
  unread(): Buffer {
    const rest = Buffer.concat([this.input.subarray(this.start, this.end), this.#chunk.subarray(this.#at)]);
    this.#chunk = EMPTY;
    this.#at = 0;
    return rest;
  }

  /** A copy of all behind the present frame, which then was not read. */
  rest(): Buffer {
    const rest = Buffer.from(this.#chunk.subarray(this.#at));
    this.#chunk = EMPTY;
    this.#at = 0;
    return rest;
  }

  #finishHeld(): boolean {
    this.#topUp(FRAME_HEAD);
    if (this.#held.length < FRAME_HEAD) return false;
    const size = FRAME_HEAD + this.#held.readUIntBE(0, 3);
    if (size <= FRAME_HEAD + MAX_PAYLOAD) this.#topUp(size);
    if (this.#held.length < size && size <= FRAME_HEAD + MAX_PAYLOAD) return false;
    const frame = this.#held;
    this.#held = EMPTY;
    const at = this.#at;
    const shown = this.#show(frame, 0, size);
    this.#at = at;
    return shown;
  }

  #topUp(size: number): void {
    const taken = Math.min(size - this.#held.length, this.#chunk.length - this.#at);
    if (taken <= 0) return;
    this.#held = Buffer.concat([this.#held, this.#chunk.subarray(this.#at, this.#at + taken)]);
    this.#at += taken;
  }

  #show(input: Buffer, start: number, end: number): boolean {
    this.oversized = end - start > FRAME_HEAD + MAX_PAYLOAD;
    this.input = input;
    this.start = start;
    this.end = end;
    this.type = input[start + 3] ?? 0;
    this.flags = input[start + 4] ?? 0;
    this.stream = input.readUInt32BE(start + 5) & MAX_WINDOW;
    this.#at = end;
    return !this.oversized;
  }
}

/** What is wrong with a frame by itself, whoever sent it: the stream it is about and its length (RFC 9113 §6). */
export function frameFault({ type, flags, stream, body, end }: Frame): Fault | undefined {
  const length = end - body;
  switch (type) {
    case FRAME.data:
    case FRAME.headers:
    case FRAME.continuation:
      return stream === 0 ? fault("protocolError", "a frame that must be about a stream") : undefined;
    case FRAME.priority:
      return aboutStream(stream, length === 5);
    case FRAME.rstStream:
      return aboutStream(stream, length === 4);
    case FRAME.settings:
      return aboutConnection(stream, (flags & FLAG.ack) === 0 ? length % 6 === 0 : length === 0);
    case FRAME.ping:
      return aboutConnection(stream, length === 8);
    case FRAME.goaway:
      return aboutConnection(stream, length >= 8);
    case FRAME.windowUpdate:
      return length === 4 ? undefined : fault("frameSizeError", "a frame of a wrong length");
    case FRAME.pushPromise:
      return fault("protocolError", "PUSH_PROMISE, which nobody has allowed");
    default:
      return undefined;
  }
}

function aboutStream(stream: number, isLength: boolean): Fault | undefined {
  if (stream === 0) return fault("protocolError", "a frame that must be about a stream");
  return isLength ? undefined : fault("frameSizeError", "a frame of a wrong length");
}

function aboutConnection(stream: number, isLength: boolean): Fault | undefined {
  if (stream !== 0) return fault("protocolError", "a frame that must be about the connection");
  return isLength ? undefined : fault("frameSizeError", "a frame of a wrong length");
}

/** How many bytes of padding end a frame, its length byte not counted; undefined when it says more than there are. */
export function paddingOf({ flags, input, body, end }: Frame): number | undefined {
  if ((flags & FLAG.padded) === 0) return 0;
  const padding = input[body] ?? 0;
  return body < end && padding < end - body ? padding : undefined;
}
