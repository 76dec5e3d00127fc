import { readBody } from "../http/body.ts";
import { HeadReader } from "../http/head-reader.ts";
import { DEFAULT_HTTP_LIMITS } from "../http/limits.ts";
import { parseRequestHead } from "../http/request-head.ts";

/** What a byte stream of requests means: a line for each request, and the error that ended it. */
export interface ReadStream {
  readonly requests: readonly string[];
  readonly error: string | undefined;
}

/** Reads requests from pieces of a stream as a connection does, without sockets. For tests. */
export function readRequestStream(pieces: Iterable<Buffer>, limits = DEFAULT_HTTP_LIMITS): ReadStream {
  const heads = new HeadReader(limits.headBytes);
  const requests: string[] = [];
  let body: ReturnType<typeof readBody> | undefined;
  let bytes = 0;
  let line = "";
  for (const piece of pieces) {
    let rest = piece;
    while (rest.length > 0) {
      let [input, from] = [rest, 0];
      if (body === undefined) {
        heads.hold(rest);
        const head = heads.next();
        if (head === undefined) break;
        const request = "status" in head ? head : parseRequestHead(head.text, limits);
        if ("status" in request || "status" in head) return { requests, error: "reason" in request ? request.reason : "" };
        line = `${request.method} ${request.target} ${request.host}`;
        body = readBody(request.framing, limits);
        [input, from, bytes] = [head.input, head.end, 0];
      }
      const end = body.read(input, from);
      if (typeof end !== "number") return { requests, error: end.reason };
      bytes += end - from;
      rest = input.subarray(end);
      if (!body.done) break;
      requests.push(`${line} ${bytes}`);
      body = undefined;
    }
  }
  return { requests, error: undefined };
}
