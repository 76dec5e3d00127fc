/** An expected failure of the outside world, with a stable `code` for programs and a sentence for people. */
export class CodedError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Whatever was thrown, as an `Error`; the original is kept as `cause`. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new Error(typeof thrown === "string" ? thrown : JSON.stringify(thrown), { cause: thrown });
}

/** The message of whatever was thrown, followed by the messages of its causes. */
export function errorMessage(thrown: unknown): string {
  const error = toError(thrown);
  const cause = error.cause;
  if (cause === undefined || cause === null) return error.message;
  const inner = errorMessage(cause);
  return error.message.includes(inner) ? error.message : `${error.message}: ${inner}`;
}
