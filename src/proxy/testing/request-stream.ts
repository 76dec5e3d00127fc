import { type BodyReader, readBody } from "../http/body.ts";
import { HeadReader } from "../http/head-reader.ts";
import { DEFAULT_HTTP_LIMITS } from "../http/limits.ts";
import { parseRequestHead, type RequestHead } from "../http/request-head.ts";

/** Reads the requests of a stream as a connection does, without sockets. For tests. */
export class RequestStreamReader {
  error: string | undefined;
  readonly #onRequest: (request: RequestHead, bodyBytes: number) => void;
  readonly #heads = new HeadReader(DEFAULT_HTTP_LIMITS.headBytes);
  #present: { readonly request: RequestHead; readonly body: BodyReader; bytes: number } | undefined;

  constructor(onRequest: (request: RequestHead, bodyBytes: number) => void) {
    this.#onRequest = onRequest;
  }

  push(piece: Buffer): void {
    let rest: Buffer | undefined = piece;
    while (rest !== undefined && rest.length > 0 && this.error === undefined) {
      rest = this.#present === undefined ? this.#readHead(rest) : rest;
      if (rest !== undefined) rest = this.#readBody(rest);
    }
  }

  #readHead(input: Buffer): Buffer | undefined {
    this.#heads.hold(input);
    const head = this.#heads.next();
    if (head === undefined) return undefined;
    const request = "status" in head ? head : parseRequestHead(head.text, DEFAULT_HTTP_LIMITS);
    if ("status" in head || "status" in request) {
      this.error = "reason" in request ? request.reason : "";
      return undefined;
    }
    this.#present = { request, body: readBody(request.framing, DEFAULT_HTTP_LIMITS), bytes: 0 };
    return head.input.subarray(head.end);
  }

  #readBody(input: Buffer): Buffer | undefined {
    const present = this.#present;
    const end = present?.body.read(input, 0);
    if (present === undefined || end === undefined) return undefined;
    if (typeof end !== "number") {
      this.error = end.reason;
      return undefined;
    }
    present.bytes += end;
    if (!present.body.done) return undefined;
    this.#present = undefined;
    this.#onRequest(present.request, present.bytes);
    return input.subarray(end);
  }
}

/** What a byte stream of requests means: a line for each request, and the error that ended it. */
export interface ReadStream {
  readonly requests: readonly string[];
  readonly error: string | undefined;
}

/** The requests in the pieces of a stream. */
export function readRequestStream(pieces: Iterable<Buffer>): ReadStream {
  const requests: string[] = [];
  const reader = new RequestStreamReader(({ method, target, host }, bytes) => void requests.push(`${method} ${target} ${host} ${bytes}`));
  for (const piece of pieces) reader.push(piece);
  return { requests, error: reader.error };
}
