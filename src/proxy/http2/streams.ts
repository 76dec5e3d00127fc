import type { ClientHttp2Stream, Http2Stream, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";

const NO_ERROR = 0;
const CANCEL = 8;

/**
 * Passes an allowed request to the server and its answer back: bodies with back-pressure, interim answers, trailers, and resets both ways.
 * `onFailure` is called when the server's side ends before there was an answer.
 */
export function passOn(
  stream: ServerHttp2Stream,
  upstream: ClientHttp2Stream,
  onFailure: (error: NodeJS.ErrnoException | undefined) => void,
): void {
  let failure: NodeJS.ErrnoException | undefined;
  let answered = false;
  if (!stream.endAfterHeaders) stream.pipe(upstream);
  passTrailers(stream, upstream);
  upstream.on("headers", (headers) => stream.headersSent || stream.destroyed || stream.additionalHeaders(withoutConnection(headers)));
  upstream.on("response", (headers) => {
    answered = true;
    if (stream.destroyed) return;
    if (upstream.endAfterHeaders) {
      stream.respond(headers, { endStream: true });
      return;
    }
    stream.respond(headers, { waitForTrailers: true });
    upstream.pipe(stream);
    passTrailers(upstream, stream);
  });
  upstream.on("error", (error: NodeJS.ErrnoException) => {
    failure = error;
  });
  upstream.on("close", () => {
    if (stream.destroyed || stream.closed) return;
    if (!answered) onFailure(rootCause(failure));
    else if (upstream.rstCode !== NO_ERROR) stream.close(upstream.rstCode);
  });
  stream.on("close", () => {
    if (!upstream.closed) upstream.close(stream.rstCode === NO_ERROR ? CANCEL : stream.rstCode);
  });
}

/** Trailers arrive before the end of the body is seen, and are asked for after the last of it is sent. */
function passTrailers(from: Http2Stream, to: Http2Stream): void {
  let trailers: IncomingHttpHeaders = {};
  from.on("trailers", (headers: IncomingHttpHeaders) => {
    trailers = headers;
  });
  to.on("wantTrailers", () => to.sendTrailers(trailers));
}

function withoutConnection(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { connection: _, ...rest } = headers;
  return rest;
}

/** Node wraps the socket's error. */
function rootCause(error: NodeJS.ErrnoException | undefined): NodeJS.ErrnoException | undefined {
  return (error?.cause as NodeJS.ErrnoException | undefined) ?? error;
}
