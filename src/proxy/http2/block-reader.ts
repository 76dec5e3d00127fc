import { type Fault, FLAG, FRAME, type Frame, fault, paddingOf } from "./frame.ts";

/** A block as it is sent is at most so long, and cut at most so often: it must be read to its end, or nothing that follows can be. */
const [MAX_BLOCK, MAX_CONTINUATIONS] = [65_536, 32];
/** Stream and weight before a block, which mean nothing any more (RFC 9113 §5.3.2). */
const PRIORITY_BYTES = 5;

/** A whole header block: `block` from `start` to `end`. */
export interface HeaderBlock {
  readonly stream: number;
  readonly endStream: boolean;
  readonly block: Buffer;
  readonly start: number;
  readonly end: number;
  /** The frames it came in. */
  readonly frames: Buffer;
  readonly from: number;
  readonly to: number;
}

/** Puts the header blocks of one direction together from HEADERS and CONTINUATION (RFC 9113 §4.3). */
export class BlockReader {
  #begun: { readonly stream: number; readonly endStream: boolean; readonly parts: Buffer[]; readonly frames: Buffer[] } | undefined;
  #bytes = 0;

  /** A block has begun and not ended: nothing else may come. */
  get partial(): boolean {
    return this.#begun !== undefined;
  }

  /** Takes a HEADERS or CONTINUATION frame; undefined until the block is whole. */
  read(frame: Frame): HeaderBlock | Fault | undefined {
    return frame.type === FRAME.headers ? this.#begin(frame) : this.#goOn(frame);
  }

  #begin(frame: Frame): HeaderBlock | Fault | undefined {
    const { input, flags, stream, start, body, end } = frame;
    const padding = paddingOf(frame);
    const skipped = ((flags & FLAG.padded) === 0 ? 0 : 1) + ((flags & FLAG.priority) === 0 ? 0 : PRIORITY_BYTES);
    if (padding === undefined || body + skipped + padding > end) return fault("protocolError", "more padding than there is");
    const endStream = (flags & FLAG.endStream) !== 0;
    const [from, to] = [body + skipped, end - padding];
    if ((flags & FLAG.endHeaders) !== 0)
      return { stream, endStream, block: input, start: from, end: to, frames: input, from: start, to: end };
    this.#begun = { stream, endStream, parts: [Buffer.from(input.subarray(from, to))], frames: [Buffer.from(input.subarray(start, end))] };
    this.#bytes = to - from;
    return undefined;
  }

  #goOn({ input, flags, stream, start, body, end }: Frame): HeaderBlock | Fault | undefined {
    const begun = this.#begun;
    if (begun === undefined || begun.stream !== stream) return fault("protocolError", "CONTINUATION of nothing");
    this.#bytes += end - body;
    if (this.#bytes > MAX_BLOCK || begun.parts.length > MAX_CONTINUATIONS) return fault("enhanceYourCalm", "a header block without end");
    begun.parts.push(Buffer.from(input.subarray(body, end)));
    begun.frames.push(Buffer.from(input.subarray(start, end)));
    if ((flags & FLAG.endHeaders) === 0) return undefined;
    this.#begun = undefined;
    const [block, frames] = [Buffer.concat(begun.parts), Buffer.concat(begun.frames)];
    return { stream, endStream: begun.endStream, block, start: 0, end: block.length, frames, from: 0, to: frames.length };
  }
}
