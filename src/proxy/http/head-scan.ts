import { type HttpError, httpError } from "./http-error.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Where a head ends (behind its blank line), how far it was looked at, or why it can never be one. */
export type HeadScan = { readonly end: number } | { readonly scanned: number } | HttpError;

/**
 * Looks for the end of a head from `scanned` (the start of a line) on. Lines end in CR LF and nothing else: a bare LF is refused at once,
 * since some readers take it for a line end and others do not. The result does not depend on how the bytes were cut.
 */
export function scanHead(input: Buffer, scanned: number, maxBytes: number): HeadScan {
  let at = scanned;
  for (;;) {
    const lf = input.indexOf(LF, at);
    if (lf < 0) return input.length >= maxBytes ? tooLarge(maxBytes) : { scanned: at };
    if (lf >= maxBytes) return tooLarge(maxBytes);
    if (lf === 0 || input[lf - 1] !== CR) return httpError(400, "line feed without carriage return");
    if (lf === at + 1) return { end: lf + 1 };
    at = lf + 1;
  }
}

function tooLarge(maxBytes: number): HttpError {
  return httpError(431, `head longer than ${maxBytes} bytes`);
}
