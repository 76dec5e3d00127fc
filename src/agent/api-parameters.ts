import { ApiError } from "./http.ts";

/** The `options` of a request's body. Throws `ApiError` 400 when there are none. */
export function optionsOf(body: unknown): Record<string, unknown> {
  const options = (body as { options?: unknown } | undefined)?.options;
  if (typeof options !== "object" || options === null) throw new ApiError(400, 'the body needs "options": {…}');
  return options as Record<string, unknown>;
}

/** A decimal number from 0 to `most`. Throws `ApiError` 400 that names `what` for anything else. */
export function wholeNumber(what: string, text: string, most = Number.MAX_SAFE_INTEGER): number {
  return /^\d+$/.test(text) && Number(text) <= most ? Number(text) : refuse(`${what}: found "${text}", allowed are 0 to ${most}`);
}

/** Throws `ApiError` 404: what was asked for is not there. */
export function missing(message: string): never {
  throw new ApiError(404, message);
}

/** Throws `ApiError` 400: the request is not one that can be answered. */
export function refuse(message: string): never {
  throw new ApiError(400, message);
}
