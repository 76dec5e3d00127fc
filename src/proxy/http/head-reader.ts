import { scanHead } from "./head-scan.ts";
import { isToken } from "./header-fields.ts";
import { type HttpError, httpError } from "./http-error.ts";
import { MAX_REPEATED } from "./limits.ts";

/** A whole head: `text` is the latin1 of `input` from `start` to `end`; what follows `end` is not looked at. */
export interface CompleteHead {
  readonly text: string;
  readonly input: Buffer;
  readonly start: number;
  readonly end: number;
}

const CR = 0x0d;
const LF = 0x0a;
const EMPTY = Buffer.alloc(0);

/** Gathers the bytes of one head after the other, however they were cut. */
export class HeadReader {
  #input: Buffer = EMPTY;
  /** The bytes are the lender's. */
  #borrowed = false;
  /** The last copy made here: the rest of a pipeline lies in it, and need not be copied for each of its requests. */
  #copy: Buffer = EMPTY;
  #scanned = 0;
  #started = false;
  /** The head before: the next is often the same. */
  #last = "";
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the next head have arrived. */
  get partial(): boolean {
    return this.#input.length > 0;
  }

  /** Adds a copy of the bytes without looking at them. */
  hold(chunk: Buffer): void {
    if (this.#input.length === 0 && isWithin(chunk, this.#copy)) this.#input = chunk;
    else this.#input = this.#copy = Buffer.concat([this.#input, chunk]);
    this.#borrowed = false;
  }

  /** As `hold`, for bytes that are looked at now: what is left after `next` finds no whole head is copied then. */
  lend(chunk: Buffer): void {
    if (this.#input.length > 0) this.hold(chunk);
    else [this.#input, this.#borrowed] = [chunk, true];
  }

  /** Gives back all held bytes: they are not a head. */
  release(): Buffer {
    const held = this.#input;
    this.#take(held.length);
    return held;
  }

  /**
   * The next head, or undefined until there is a whole one. Whoever takes it decides what the bytes behind it are and gives those of the
   * next head to `hold`. One empty line before a request is skipped (RFC 9112 §2.2).
   */
  next(): CompleteHead | HttpError | undefined {
    const found = this.#find();
    if (found === undefined && this.#borrowed) this.hold(EMPTY);
    return found;
  }

  #find(): CompleteHead | HttpError | undefined {
    const last = this.#last;
    const input = this.#input;
    // Byte for byte the head before: it ends where that did.
    if (last !== "" && input.length >= last.length && input.toString("latin1", 0, last.length) === last) {
      this.#take(last.length);
      return { text: last, input, start: 0, end: last.length };
    }
    const start = this.#startOfHead();
    if (start === undefined) return undefined;
    if (typeof start !== "number") return start;
    const scan = scanHead(input, Math.max(this.#scanned, start), start + this.#maxBytes);
    if ("status" in scan) return scan;
    if ("scanned" in scan) {
      this.#scanned = scan.scanned;
      return undefined;
    }
    this.#take(scan.end);
    const text = input.toString("latin1", start, scan.end);
    this.#last = text.length > MAX_REPEATED ? "" : text;
    return { text, input, start, end: scan.end };
  }

  /** Where the head starts; an error as soon as it cannot be one, so that other protocols do not wait for a time-out. */
  #startOfHead(): number | HttpError | undefined {
    const input = this.#input;
    if (input.length === 0) return undefined;
    const start = input[0] === CR ? 2 : 0;
    if (start === 2 && input.length > 1 && input[1] !== LF) return httpError(400, "carriage return without line feed");
    if (input.length <= start) return undefined;
    if (!this.#started && !isToken(String.fromCharCode(input[start] ?? 0))) return httpError(400, "not HTTP");
    this.#started = true;
    return start;
  }

  /** Gives all away; nothing is kept of a copy that was used to its `end`. */
  #take(end: number): void {
    if (end === this.#input.length) this.#copy = EMPTY;
    this.#input = EMPTY;
    this.#scanned = 0;
    this.#started = false;
  }
}

function isWithin(part: Buffer, whole: Buffer): boolean {
  const from = part.byteOffset - whole.byteOffset;
  return part.buffer === whole.buffer && from >= 0 && from + part.length <= whole.length;
}
