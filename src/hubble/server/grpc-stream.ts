import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Encoder } from "../wire/encoder.ts";
import { BackwardOutput } from "../wire/output.ts";

/** What a client says besides its request. The signal aborts when it has gone, its time is over or the server ends. */
export interface StreamContext {
  readonly signal: AbortSignal;
  has(header: string): boolean;
}

/** A method that answers one request with a stream, in frames (`grpcFrames`), as many at once as are there. */
export interface StreamMethod {
  readonly headers: Readonly<Record<string, string>>;
  run(request: Uint8Array, context: StreamContext): AsyncIterable<Uint8Array>;
}

/** gRPC's own framing: whether compressed, then the length. */
const PREFIX_BYTES = 5;
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const MAX_TIMER_MS = 2 ** 31 - 1;

const frames = new BackwardOutput();

/** A message as gRPC frames it. */
export function grpcFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

/** Messages as gRPC frames them, one after the other, in one piece. */
export function grpcFrames<Message>(encoder: Encoder<Message>, messages: readonly (Message | Uint8Array)[]): Buffer {
  frames.clear();
  for (let at = messages.length - 1; at >= 0; at--) {
    const message = messages[at] as Message | Uint8Array;
    if (message instanceof Uint8Array) frames.raw(message);
    else {
      const before = frames.length;
      encoder.write(frames, message);
      frames.uint32(frames.length - before);
      frames.byte(0);
    }
  }
  return frames.copy(frames.length);
}

/** Whether a request is plain gRPC, which `serveStream` understands; Connect, gRPC-Web and compressed requests are not. */
export function isPlainGrpc({ headers }: Http2ServerRequest): boolean {
  const compressed = (headers["grpc-encoding"] ?? "identity") !== "identity";
  return /^application\/grpc(\+proto)?$/.test(headers["content-type"] ?? "") && !compressed;
}

/**
 * Answers one call. Many frames go out in one write, and the next are asked for when those are on their way: what happens meanwhile
 * comes together. Errors become the call's status; it never throws.
 */
export async function serveStream(
  method: StreamMethod,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  shutdown: AbortSignal,
): Promise<void> {
  const { stream } = response;
  const gone = new AbortController();
  stream.on("close", () => gone.abort());
  stream.on("error", () => gone.abort());
  const timeoutMs = timeoutOf(request.headers["grpc-timeout"]);
  const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(Math.min(timeoutMs, MAX_TIMER_MS));
  const signal = AbortSignal.any([gone.signal, shutdown, ...(deadline ? [deadline] : [])]);
  let failure: ConnectError | undefined;
  try {
    const message = await readMessage(stream);
    const context = { signal, has: (header: string) => request.headers[header] !== undefined };
    for await (const frames of method.run(message, context)) {
      if (signal.aborted) break;
      open(response, method);
      await written(response, frames);
    }
  } catch (thrown) {
    failure = ConnectError.from(thrown);
  }
  if (deadline?.aborted) failure = new ConnectError("the deadline is over", Code.DeadlineExceeded);
  else if (shutdown.aborted) failure = new ConnectError("the server ends", Code.Unavailable);
  end(response, method, failure);
}

function open(response: Http2ServerResponse, { headers }: StreamMethod): void {
  if (!response.headersSent && !response.stream.destroyed)
    response.writeHead(200, { "content-type": "application/grpc+proto", ...headers });
}

function end(response: Http2ServerResponse, method: StreamMethod, failure: ConnectError | undefined): void {
  if (response.stream.destroyed || response.stream.closed) return;
  open(response, method);
  const message = failure && { "grpc-message": encodeURIComponent(failure.rawMessage) };
  response.addTrailers({ "grpc-status": String(failure?.code ?? 0), ...message });
  response.end();
}

/** Resolves when the bytes have left this process, or never will. */
function written({ stream }: Http2ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off("close", done);
      resolve();
    };
    if (stream.destroyed) {
      resolve();
      return;
    }
    stream.once("close", done);
    stream.write(bytes, done);
  });
}

async function readMessage(stream: ServerHttp2Stream): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_REQUEST_BYTES) throw new ConnectError("the request is too long", Code.ResourceExhausted);
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length < PREFIX_BYTES || bytes.readUInt32BE(1) !== bytes.length - PREFIX_BYTES)
    throw new ConnectError("the request is not one message", Code.InvalidArgument);
  if (bytes[0] !== 0) throw new ConnectError("the request is compressed, and does not say how", Code.Unimplemented);
  return bytes.subarray(PREFIX_BYTES);
}

/** `grpc-timeout` in milliseconds; undefined when there is none, or none that can be read. */
function timeoutOf(header: string | string[] | undefined): number | undefined {
  const [, amount, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(String(header ?? "")) ?? [];
  return amount === undefined ? undefined : Number(amount) * (UNITS_MS[unit] ?? 0);
}
