import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionOptions,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Asked } from "../http/asked.ts";
import type { Exchange } from "../http/exchange.ts";
import { judge } from "../http/judge.ts";
import { type DeniedReply, upstreamFailure } from "../http/local-reply.ts";
import type { HttpSession } from "../http/session.ts";
import { fieldsOf, forwardedHeaders, isGrpc, localHeaders, requestOfStream } from "./request.ts";
import { passOn } from "./streams.ts";

/** Loaded when a client first speaks HTTP/2: most never do. */
const http2 = () => process.getBuiltinModule("node:http2");

const MAX_STREAMS = 100;

/** A change from HTTP/1.1 that both sides have agreed to. */
export interface Upgraded {
  readonly exchange: Exchange;
  /** The connection to the server, which knows of stream 1 already. */
  readonly server: Duplex;
}

/**
 * A client that speaks HTTP/2 with prior knowledge (gRPC without TLS). Node's nghttp2 frames both sides; every stream is judged by itself and
 * forwarded to one HTTP/2 connection to the server.
 */
export class Http2Connection {
  readonly #session: HttpSession;
  readonly #client: ServerHttp2Session;
  #server: ClientHttp2Session | undefined;
  #streams = 0;
  #upgraded: Upgraded | undefined;
  #idleSince: number;

  /** `upgraded`: what the client asked in HTTP/1.1, which is its stream 1, and the server's connection that agreed to it. */
  constructor(socket: Socket, session: HttpSession, upgraded?: Upgraded) {
    this.#session = session;
    this.#upgraded = upgraded;
    this.#idleSince = session.now();
    this.#client = http2().performServerHandshake(socket, {
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: session.limits.headBytes, enablePush: false },
      ...{ maxHeaderListPairs: session.limits.headerCount, maxSessionInvalidFrames: 100, maxSessionRejectedStreams: 100 },
    });
    this.#client.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => this.#onStream(stream, headers));
    this.#client.on("error", () => this.destroy());
    this.#client.on("close", () => this.#server?.destroy());
  }

  /** Finishes the streams that are open and takes no new ones. */
  stop(): void {
    this.#client.close();
  }

  destroy(): void {
    this.#client.destroy();
    this.#server?.destroy();
  }

  checkDeadline(now: number): void {
    if (this.#streams === 0 && now - this.#idleSince > this.#session.timeouts.idle) this.stop();
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.#streams++;
    stream.on("error", () => undefined);
    stream.on("close", () => {
      this.#streams--;
      this.#idleSince = this.#session.now();
    });
    const grpc = isGrpc(headers);
    const upgraded = this.#upgraded;
    if (upgraded !== undefined) {
      // Stream 1 comes first: it was judged when it asked for the change.
      this.#upgraded = undefined;
      const first = { endStream: true, waitForTrailers: true };
      const begin = () =>
        this.#openServer(() => upgraded.server, { maxDeflateDynamicTableSize: 0 }).request(forwardedHeaders(headers, []), first);
      this.#forward(stream, upgraded.exchange, grpc, begin);
      return;
    }
    const request = requestOfStream(headers);
    if ("status" in request) {
      answer(stream, request.status, `${request.reason}\r\n`, grpc);
      return;
    }
    const judged = judge(this.#session, new Asked(request));
    if (judged === null) {
      this.destroy();
      return;
    }
    const { exchange, actions } = judged;
    if (actions === undefined) {
      const { body, headers: more } = this.#session.denied;
      answer(stream, 403, body, grpc, more);
      return;
    }
    this.#forward(stream, exchange, grpc, () =>
      this.#serverSession(request.host).request(forwardedHeaders(headers, actions), {
        endStream: stream.endAfterHeaders,
        waitForTrailers: true,
      }),
    );
  }

  #forward(stream: ServerHttp2Stream, exchange: Exchange, grpc: boolean, begin: () => ClientHttp2Stream): void {
    const fail = (code: number, text: string) => {
      this.#session.record(exchange.errorRecord(this.#session.scope(), code, text));
      if (!stream.headersSent) answer(stream, code, text, grpc);
    };
    let upstream: ClientHttp2Stream;
    try {
      upstream = begin();
    } catch (thrown) {
      fail(503, upstreamFailure((thrown as NodeJS.ErrnoException).code));
      return;
    }
    upstream.setTimeout(this.#session.timeouts.response, () => {
      if (!stream.headersSent) fail(504, "upstream request timeout");
      upstream.close(http2().constants.NGHTTP2_CANCEL);
    });
    upstream.on("response", (headers) => {
      upstream.setTimeout(0);
      this.#session.record(exchange.responseRecord(this.#session.scope(), { code: headers[":status"] ?? 0, headers: fieldsOf(headers) }));
    });
    passOn(stream, upstream, (error) => fail(503, upstreamFailure(error?.code)));
  }

  /** The connection to the server; a new one when the last is closed or about to. */
  #serverSession(host: string): ClientHttp2Session {
    const present = this.#server;
    if (present !== undefined && !present.closed && !present.destroyed) return present;
    const socket = this.#session.connect(host);
    return this.#openServer(() => socket, {});
  }

  #openServer(createConnection: () => Duplex, options: ClientSessionOptions): ClientHttp2Session {
    const made = http2().connect("http://upstream", { ...options, createConnection, settings: { enablePush: false } });
    // The streams tell of it, too.
    made.on("error", () => undefined);
    made.setTimeout(this.#session.timeouts.connect, () => {
      if (made.connecting) made.destroy(Object.assign(new Error("connect timed out"), { code: "ETIMEDOUT" }));
    });
    made.on("connect", () => made.setTimeout(0));
    made.on("goaway", () => made.close());
    this.#server = made;
    return made;
  }
}

/** Answers instead of the server and lets the client stop sending. */
function answer(stream: ServerHttp2Stream, code: number, body: string, grpc: boolean, more: DeniedReply["headers"] = []): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ...localHeaders(code, body, grpc), ...Object.fromEntries(more) }, { endStream: grpc });
  if (!grpc) stream.end(body);
  // Whatever the client still sends of its body is thrown away; NO_ERROR tells it to stop (RFC 9113 §8.1).
  stream.resume();
}
