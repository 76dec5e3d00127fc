/** Input that is not exactly HTTP/1.x as RFC 9112 has it, or that two readers could take differently. Ends the connection. */
export interface HttpError {
  readonly status: 400 | 408 | 431 | 501 | 502 | 505;
  readonly reason: string;
}

/** Says so as a value: parsers return it, they never throw. */
export function httpError(status: HttpError["status"], reason: string): HttpError {
  return { status, reason };
}

/** Tells an error from a parsed value. */
export function isHttpError(value: unknown): value is HttpError {
  return typeof value === "object" && value !== null && "status" in value && "reason" in value && !("headers" in value);
}
