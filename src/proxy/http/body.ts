import { cgiName, parseHeaderFields } from "./header-fields.ts";
import { type HttpError, httpError } from "./http-error.ts";
import type { HttpLimits } from "./limits.ts";
import type { ResponseFraming } from "./response-head.ts";

/** Follows a body through the bytes of a connection, to know where it ends; it changes nothing. */
export interface BodyReader {
  /**
   * Looks at bytes from `start` on; returns where the body ends in them (`input.length` when it goes on), or an error. Bytes before the
   * returned place may be forwarded.
   */
  read(input: Buffer, start: number): number | HttpError;
  readonly done: boolean;
}

/** A reader for the framing; `none` is done from the start, `until-close` never is. No trailer may have one of the `decided` names. */
export function readBody(framing: ResponseFraming, limits: HttpLimits, decided: ReadonlySet<string> = NO_NAMES): BodyReader {
  switch (framing.kind) {
    case "none":
      return EMPTY;
    case "until-close":
      return { done: false, read: (input) => input.length };
    case "length":
      return new LengthReader(framing.length);
    case "chunked":
      return new ChunkedReader(limits, decided);
  }
}

const NO_NAMES: ReadonlySet<string> = new Set();

const EMPTY: BodyReader = { done: true, read: (_input, start) => start };

class LengthReader implements BodyReader {
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  read(input: Buffer, start: number): number {
    const taken = Math.min(this.#left, input.length - start);
    this.#left -= taken;
    return start + taken;
  }
}

/** Names that must not come behind a body: framing, routing, credentials (RFC 9110 §6.5.1). */
const FORBIDDEN_TRAILERS = new Set([
  ...["transfer-encoding", "content-length", "host", "connection", "upgrade", "te", "trailer", "expect", "cookie", "set-cookie"],
  ...["authorization", "proxy-authorization", "content-encoding", "content-type", "content-range", "max-forwards", "range"],
]);

/** Also by the names that rules go by: a server that merges trailers into the headers would see another value than the one that was judged. */
export function isForbiddenTrailer(name: string, decided: ReadonlySet<string>): boolean {
  return FORBIDDEN_TRAILERS.has(name) || [...decided].some((one) => cgiName(one) === cgiName(name));
}

/** The longest size line read as a number stays exact: 13 hexadecimal digits are 52 bits. */
const SIZE_LINE = /^0*([0-9A-Fa-f]{1,13})$/;

/**
 * RFC 9112 §7.1, strictly: sizes in plain hexadecimal, CR LF everywhere. Chunk extensions are refused: no one needs them, and readers
 * disagree about where they end.
 */
class ChunkedReader implements BodyReader {
  done = false;
  #state: "size" | "data" | "data-end" | "trailer" = "size";
  #left = 0;
  /** Bytes of a line (or of all trailers) that came in pieces. */
  #line = "";
  readonly #limits: HttpLimits;
  readonly #decided: ReadonlySet<string>;

  constructor(limits: HttpLimits, decided: ReadonlySet<string>) {
    this.#limits = limits;
    this.#decided = decided;
  }

  read(input: Buffer, start: number): number | HttpError {
    let at = start;
    while (!this.done && at < input.length) {
      const next = this.#step(input, at);
      if (typeof next !== "number") return next;
      at = next;
    }
    return at;
  }

  #step(input: Buffer, at: number): number | HttpError {
    if (this.#state !== "data") return this.#readLine(input, at);
    const taken = Math.min(this.#left, input.length - at);
    this.#left -= taken;
    if (this.#left === 0) this.#state = "data-end";
    return at + taken;
  }

  #readLine(input: Buffer, at: number): number | HttpError {
    const lf = input.indexOf(0x0a, at);
    const end = lf < 0 ? input.length : lf + 1;
    const max = this.#state === "trailer" ? this.#limits.trailerBytes : this.#limits.chunkLineBytes;
    if (this.#line.length + end - at > max) return httpError(400, "chunk line or trailers too long");
    this.#line += input.toString("latin1", at, end);
    if (lf < 0) return end;
    const error = this.#line.endsWith("\r\n") ? this.#finishLine() : httpError(400, "bare line feed in a chunked body");
    return error ?? end;
  }

  #finishLine(): HttpError | undefined {
    if (this.#state === "trailer") return this.#finishTrailerLine();
    const line = this.#line.slice(0, -2);
    this.#line = "";
    if (this.#state === "data-end") {
      if (line !== "") return httpError(400, "chunk longer than its size");
      this.#state = "size";
      return undefined;
    }
    const digits = SIZE_LINE.exec(line)?.[1];
    if (digits === undefined) return httpError(400, "bad chunk size");
    this.#left = Number.parseInt(digits, 16);
    this.#state = this.#left === 0 ? "trailer" : "data";
    return undefined;
  }

  #finishTrailerLine(): HttpError | undefined {
    if (this.#line !== "\r\n" && !this.#line.endsWith("\r\n\r\n")) return undefined;
    this.done = true;
    const trailers = parseHeaderFields(this.#line, this.#limits.headerCount);
    if (!Array.isArray(trailers)) return trailers;
    return trailers.some(({ name }) => isForbiddenTrailer(name, this.#decided)) ? httpError(400, "forbidden trailer") : undefined;
  }
}
