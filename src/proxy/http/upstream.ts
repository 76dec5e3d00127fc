import { ServerConnection } from "../server-connection.ts";
import { readBody } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { type CompleteHead, HeadReader } from "./head-reader.ts";
import { type HttpError, httpError } from "./http-error.ts";
import { MAX_REPEATED } from "./limits.ts";
import type { RequestHead } from "./request-head.ts";
import { isAnsweredAlike, parseResponseHead, type ResponseHead } from "./response-head.ts";
import { announceEnd } from "./rewrite.ts";
import type { HttpSession } from "./session.ts";

/** What the server's side tells the client's side. */
export interface UpstreamEvents {
  toClient(bytes: Buffer): void;
  extend(ms: number): void;
  /** A response is complete. */
  progress(): void;
  /** The server agreed to leave HTTP. */
  tunnel(): void;
  /** The server agreed to go on with HTTP/2, and sent `read` so far. */
  http2(head: Buffer, read: Buffer): void;
  /** The server has nothing more to say through the tunnel, but may listen. */
  halfClosed(): void;
  /** The server closed (no error) or the connection broke. */
  ended(error: NodeJS.ErrnoException | undefined): void;
  bad(error: HttpError): void;
  writable(): void;
  /** The client's connection is to end with this answer. */
  isLast(): boolean;
}

/** The connection to the server: reads responses, passes them on, and says when each is through. */
export class Upstream {
  /** Requests sent so far. */
  exchanges = 0;
  readonly #server: ServerConnection;
  readonly #session: HttpSession;
  readonly #events: UpstreamEvents;
  readonly #heads: HeadReader;
  #exchange: Exchange | undefined;
  /** The last answer: the next is often the same. */
  #before: { readonly text: string; readonly to: RequestHead; readonly response: ResponseHead } | undefined;
  #tunnel = false;
  #over = false;

  constructor(session: HttpSession, host: string, events: UpstreamEvents) {
    this.#session = session;
    this.#events = events;
    this.#heads = new HeadReader(session.limits.headBytes);
    this.#server = new ServerConnection(session.connect(host, "http/1.1"), session.timeouts.connect, {
      data: (chunk) => this.#onData(chunk),
      end: () => this.#onEnd(),
      writable: () => events.writable(),
      gone: (error) => this.#finish(error),
    });
  }

  get connected(): boolean {
    return this.#server.connected;
  }

  /** The next response belongs to this exchange. */
  expect(exchange: Exchange): void {
    this.#exchange = exchange;
    this.exchanges++;
  }

  write(bytes: Buffer): boolean {
    return this.#server.write(bytes);
  }

  pause(): void {
    this.#server.pause();
  }

  resume(): void {
    this.#server.resume();
  }

  /** Half-closes: the client has nothing more to say. */
  end(): void {
    this.#server.end();
  }

  /** Lets go of the connection: it is somebody else's. */
  release(): ServerConnection {
    this.#over = true;
    return this.#server;
  }

  /** Closes for good once everything queued is sent. */
  close(): void {
    this.#over = true;
    this.#server.close();
  }

  destroy(reset: boolean): void {
    this.#over = true;
    this.#server.destroy(reset);
  }

  #onData(chunk: Buffer): void {
    if (this.#over) return;
    if (this.#tunnel) {
      this.#events.extend(this.#session.timeouts.stall);
      this.#events.toClient(chunk);
      return;
    }
    const exchange = this.#exchange;
    // A server that speaks unasked (or says more than its response) is about to close; nothing of that is for the client.
    if (exchange === undefined) {
      this.#finish(undefined);
      return;
    }
    if (exchange.response !== undefined) {
      this.#onBody(exchange, chunk, 0);
      return;
    }
    this.#heads.lend(chunk);
    this.#readHeads(exchange);
  }

  #readHeads(exchange: Exchange): void {
    while (this.#heads.partial) {
      const head = this.#heads.next();
      if (head === undefined) return;
      if ("status" in head) {
        this.#events.bad(httpError(502, head.reason));
        return;
      }
      const response = this.#parse(head.text, exchange.request);
      if ("status" in response) {
        this.#events.bad(response);
        return;
      }
      if (response.interim) {
        if (++exchange.interimResponses > this.#session.limits.interimResponses) {
          this.#events.bad(httpError(502, "too many interim responses"));
          return;
        }
        this.#events.toClient(head.input.subarray(head.start, head.end));
        this.#heads.lend(head.input.subarray(head.end));
        continue;
      }
      exchange.response = response;
      exchange.responseBody = readBody(response.framing, this.#session.limits);
      // The answer itself is still to come where 101 only announces HTTP/2.
      if (response.code !== 101 || !exchange.request.h2c) this.#session.record(exchange.responseRecord(this.#session.scope(), response));
      if (response.tunnel) this.#leaveHttp(exchange, head);
      else this.#answer(exchange, response, head);
      return;
    }
  }

  #answer(exchange: Exchange, response: ResponseHead, { text, input, start, end }: CompleteHead): void {
    exchange.isLast ||= this.#events.isLast() || exchange.leavesBody;
    if (!exchange.isLast || !response.keepAlive) {
      this.#onBody(exchange, start === 0 ? input : input.subarray(start), end - start);
      return;
    }
    const last = announceEnd(text, response.headers);
    this.#onBody(exchange, Buffer.concat([Buffer.from(last, "latin1"), input.subarray(end)]), last.length);
  }

  #parse(text: string, request: RequestHead): ResponseHead | HttpError {
    const last = this.#before;
    if (last?.text === text && isAnsweredAlike(last.to, request)) return last.response;
    const response = parseResponseHead(text, request, this.#session.limits);
    if ("status" in response) return response;
    this.#before = text.length > MAX_REPEATED ? undefined : { text, to: request, response };
    return response;
  }

  #leaveHttp(exchange: Exchange, { input, start, end }: CompleteHead): void {
    if (exchange.request.h2c) {
      this.#events.http2(input.subarray(start, end), input.subarray(end));
      return;
    }
    this.#tunnel = true;
    this.#events.toClient(input.subarray(start));
    this.#events.tunnel();
  }

  #onBody(exchange: Exchange, input: Buffer, from: number): void {
    const end = exchange.responseBody?.read(input, from) ?? from;
    if (typeof end !== "number") {
      this.#events.bad(httpError(502, end.reason));
      return;
    }
    this.#events.extend(this.#session.timeouts.stall);
    this.#events.toClient(end === input.length ? input : input.subarray(0, end));
    if (!exchange.responseDone) return;
    this.#exchange = undefined;
    this.#events.progress();
    if (end < input.length) this.#finish(undefined);
  }

  #onEnd(): void {
    if (this.#tunnel && !this.#over) this.#events.halfClosed();
    else this.#finish(undefined);
  }

  #finish(error: NodeJS.ErrnoException | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.ended(error);
    this.#server.close();
  }
}
