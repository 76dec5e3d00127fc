import type { Socket } from "node:net";
import { type ClientConnection, Http2Connection, type Upgraded } from "../http2/connection.ts";
import { type Asked, RequestParser } from "./asked.ts";
import { ClientEnd } from "./client-end.ts";
import type { Exchange } from "./exchange.ts";
import { badResponse, type Failure, serverGone } from "./failure.ts";
import { type CompleteHead, HeadReader } from "./head-reader.ts";
import type { HttpError } from "./http-error.ts";
import { judge, recordRefusal } from "./judge.ts";
import { ANSWERS_AT_ONCE } from "./limits.ts";
import { deniedReply, localReply, timeoutAnswer, upstreamFailure } from "./local-reply.ts";
import { HTTP2_PREFACE } from "./request-head.ts";
import { hasStrayBody, rewriteHead } from "./rewrite.ts";
import type { HttpSession } from "./session.ts";
import { Upstream } from "./upstream.ts";

/**
 * head: waiting for a request. body: passing on its body. wait: for the rest of its response. drain: throwing away the body of a request
 * that the proxy answered. tunnel: bytes both ways. http2: see `#http2`. closing: the last answer is on its way. closed.
 */
type State = "head" | "body" | "wait" | "drain" | "tunnel" | "http2" | "closing" | "closed";

/**
 * One redirected client connection and its one connection to the server. Requests are judged and answered one at a time: the next one of a
 * pipeline is not read before the response to the last is through, so answers keep their order and memory its bounds.
 */
export class HttpConnection {
  readonly #client: ClientEnd;
  readonly #session: HttpSession;
  readonly #heads: HeadReader;
  readonly #requests: RequestParser;
  #upstream: Upstream | undefined;
  #exchange: Exchange | undefined;
  #state: State = "head";
  /** `#readRequests` is on the stack and goes on by itself. */
  #reading = false;
  /** The others have their turn. */
  #resting = false;
  /** A request was read: what comes now is HTTP/1. */
  #used = false;
  /** Set when the client turned out to speak HTTP/2: from then on it reads what comes. */
  #http2: Http2Connection | undefined;
  /** Drain: the next answer is the last. */
  #stopping = false;

  constructor(client: Socket, session: HttpSession) {
    this.#session = session;
    this.#heads = new HeadReader(session.limits.headBytes);
    this.#requests = new RequestParser(session.limits);
    this.#client = new ClientEnd(client, session, {
      data: (bytes) => this.#onData(bytes),
      end: () => this.#onEnd(),
      writable: () => (this.#http2 === undefined ? this.#upstream?.resume() : this.#http2.writable()),
      gone: (isBroken) => this.#abort(isBroken),
    });
  }

  /** Resets the connection, both sides: its policy is gone. */
  cut(): void {
    this.#http2?.giveUp();
    this.#abort(true);
  }

  /**
   * The next answer tells the client that it is the last, and the connection ends with it. An end without a word would meet requests that are on their way, or
   * in the socket already, and nobody could tell whether they were served. Who says nothing for a while is asked no more.
   */
  stop(): void {
    this.#http2?.stop();
    this.#stopping = true;
    if (this.#state === "head" && !this.#heads.partial) this.#awaitLast();
  }

  #awaitLast(): void {
    this.#client.hasten(this.#session.timeouts.last);
  }

  /** False: the policy does not know this connection any more, and it should be cut. */
  stillRedirected(): boolean {
    return this.#session.policy() !== null;
  }

  /** Ends the connection when it has been in its state for too long. */
  checkDeadline(now: number): void {
    if (this.#state === "http2") this.#http2?.checkDeadline(now);
    if (this.#state === "http2" || this.#state === "closed" || !this.#client.isLate(now)) return;
    const reading = this.#state === "body" || (this.#state === "head" && this.#heads.partial);
    if (reading) this.#refuse({ status: 408, reason: "request not complete in time" });
    else if (this.#state === "wait" && this.#exchange?.response === undefined) this.#answerForServer(...timeoutAnswer(this.#upstream));
    else if (this.#state === "head") this.#closeGently();
    else this.#abort(true);
  }

  #onData(chunk: Buffer): void {
    switch (this.#state) {
      case "head":
        this.#heads.lend(chunk);
        this.#readRequests();
        return;
      case "body":
        this.#onBody(chunk, 0);
        return;
      case "drain":
        this.#onDrain(chunk, 0);
        return;
      case "wait":
        // The next request of a pipeline, or bytes for the tunnel to come.
        this.#heads.hold(chunk);
        this.#client.pause();
        return;
      case "tunnel":
        this.#client.extend(this.#session.timeouts.stall);
        this.#sendUpstream(chunk);
        return;
      case "http2":
        this.#http2?.read(chunk);
    }
  }

  #readRequests(): void {
    if (this.#reading || this.#resting) return;
    this.#reading = true;
    let left = ANSWERS_AT_ONCE;
    while (this.#state === "head" && this.#heads.partial && left > 0 && this.#readRequest()) left--;
    this.#reading = false;
    if (left === 0 && this.#heads.partial) this.#rest();
    else if (this.#state === "head" && this.#client.hasEnded) this.#closeGently();
  }

  /** Who has asked so much that we can answer by ourselves waits until others were heard. */
  #rest(): void {
    this.#resting = true;
    this.#client.pause();
    setImmediate(() => {
      this.#resting = false;
      if (this.#state !== "head") return;
      this.#client.resume();
      this.#readRequests();
    });
  }

  /** False when there is not yet a whole head. */
  #readRequest(): boolean {
    const head = this.#heads.next();
    if (head === undefined) {
      this.#client.hasten(this.#session.timeouts.head);
      return false;
    }
    if ("text" in head && head.text === HTTP2_PREFACE && !this.#used) {
      this.#switchToHttp2(head.input.subarray(head.start));
      return true;
    }
    this.#used = true;
    const asked = "status" in head ? head : this.#requests.parse(head.text);
    if ("status" in asked) this.#refuse(asked);
    else this.#onRequest(head as CompleteHead, asked);
    return true;
  }

  /** `read`: what the client has said in HTTP/2 so far. */
  #switchToHttp2(read: Buffer, upgraded?: Upgraded): Http2Connection {
    this.#state = "http2";
    const client: ClientConnection = {
      ...{ write: (bytes) => this.#client.send(bytes), pause: () => this.#client.pause(), resume: () => this.#client.resume() },
      ...{ close: () => this.#closeGently(), abort: () => this.#abort(true) },
    };
    const made = new Http2Connection(client, this.#session, upgraded);
    this.#http2 = made;
    made.read(read);
    if (this.#stopping) made.stop();
    return made;
  }

  /** `read`: what a server that agreed on HTTP/2 sent behind its agreement. */
  #agreeOnHttp2(head: Buffer, read: Buffer): void {
    const [exchange, upstream] = [this.#exchange, this.#upstream];
    if (exchange === undefined || upstream === undefined) return;
    this.#upstream = undefined;
    this.#sendClient(head);
    this.#switchToHttp2(this.#heads.release(), { exchange, server: upstream.release() }).readServer(read);
  }

  #onRequest(head: CompleteHead, asked: Asked): void {
    const { request } = asked;
    const judged = judge(this.#session, asked);
    if (judged === null) {
      this.#abort(true);
      return;
    }
    const { exchange, actions } = judged;
    this.#exchange = exchange;
    if (actions === undefined) {
      this.#deny(exchange, head);
      return;
    }
    const text = rewriteHead(head.text, request, actions);
    if (!this.#ensureUpstream()) return;
    exchange.isLast = hasStrayBody(request);
    this.#upstream?.expect(exchange);
    this.#state = "body";
    if (text === head.text) {
      this.#onBody(head.start === 0 ? head.input : head.input.subarray(head.start), head.end - head.start);
      return;
    }
    this.#onBody(Buffer.concat([Buffer.from(text, "latin1"), head.input.subarray(head.end)]), text.length);
  }

  /** Passes on `input`: `from` bytes of head, then as much as belongs to the body. */
  #onBody(input: Buffer, from: number): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const end = exchange.requestBody.read(input, from);
    if (typeof end !== "number") {
      this.#refuse(end);
      return;
    }
    this.#state = exchange.requestDone ? "wait" : "body";
    this.#client.extend(this.#state === "wait" ? this.#session.timeouts.response : this.#session.timeouts.stall);
    this.#sendUpstream(end === input.length ? input : input.subarray(0, end));
    if (end < input.length) this.#heads.hold(input.subarray(end));
    if (!exchange.requestDone) return;
    this.#passOnEnd();
    this.#onProgress();
  }

  #deny(exchange: Exchange, head: CompleteHead): void {
    const close = exchange.closesAfterDenial(this.#session.limits) || this.#stopping;
    this.#sendClient(deniedReply(this.#session.denied, close, exchange.request));
    exchange.answered = true;
    if (close) {
      this.#closeGently();
      return;
    }
    this.#state = "drain";
    this.#onDrain(head.input, head.end);
  }

  #onDrain(input: Buffer, from: number): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const end = exchange.drain(input, from, this.#session.limits);
    if (end === undefined) {
      this.#closeGently();
      return;
    }
    this.#client.extend(this.#session.timeouts.stall);
    if (end < input.length) this.#heads.hold(input.subarray(end));
    if (exchange.requestDone) this.#finishExchange(exchange);
  }

  /** Both directions move an exchange forward; when both are through, the next request is read. */
  #onProgress(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || !exchange.responseDone) return;
    if (!exchange.reusable) {
      this.#closeGently();
      return;
    }
    if (exchange.requestDone) this.#finishExchange(exchange);
  }

  #finishExchange(exchange: Exchange): void {
    this.#exchange = undefined;
    if (!exchange.reusable) {
      this.#closeGently();
      return;
    }
    this.#state = "head";
    this.#client.extend(this.#session.timeouts.idle);
    if (this.#stopping) this.#awaitLast();
    this.#client.resume();
    // Not at once: the caller still has bytes of this exchange in hand.
    if (this.#heads.partial || this.#client.hasEnded) queueMicrotask(() => this.#readRequests());
  }

  #ensureUpstream(): boolean {
    if (this.#upstream !== undefined) return true;
    try {
      this.#upstream = new Upstream(this.#session, this.#exchange?.request.host ?? "", {
        toClient: (bytes) => this.#sendClient(bytes),
        extend: (ms) => this.#client.extend(ms),
        progress: () => this.#onProgress(),
        tunnel: () => this.#openTunnel(),
        http2: (head, read) => this.#agreeOnHttp2(head, read),
        halfClosed: () => (this.#client.hasEnded ? this.#closeGently() : this.#client.endSending()),
        ended: (error) => this.#onUpstreamEnd(error),
        bad: (error) => this.#fail(badResponse(this.#exchange, error)),
        isLast: () => this.#stopping,
        writable: () => (this.#state === "body" || this.#state === "tunnel" ? this.#client.resume() : undefined),
      });
      return true;
    } catch (thrown) {
      this.#answerForServer(503, upstreamFailure((thrown as NodeJS.ErrnoException).code));
      return false;
    }
  }

  #openTunnel(): void {
    this.#state = "tunnel";
    this.#client.extend(this.#session.timeouts.stall);
    if (this.#heads.partial) this.#sendUpstream(this.#heads.release());
    this.#client.resume();
    this.#passOnEnd();
  }

  #onEnd(): void {
    switch (this.#state) {
      case "wait":
      case "tunnel":
        this.#passOnEnd();
        break;
      case "body":
        this.#abort(true);
        break;
      case "closing":
        this.#client.closeNow();
        break;
      case "head":
        if (!this.#resting) this.#closeGently();
        break;
      case "http2":
        this.#http2?.end();
        break;
      default:
        this.#closeGently();
    }
  }

  /** Half-closes towards the server, once there is nothing more to send. */
  #passOnEnd(): void {
    if (this.#client.hasEnded && !this.#heads.partial) this.#upstream?.end();
  }

  #onUpstreamEnd(error: NodeJS.ErrnoException | undefined): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    const exchange = this.#state === "tunnel" ? undefined : this.#exchange;
    this.#fail(serverGone(exchange, this.#upstream?.exchanges === 1, error));
  }

  #fail({ told, isAnswer, reset }: Failure): void {
    const exchange = this.#exchange;
    if (told !== undefined && exchange !== undefined) this.#session.record(exchange.errorRecord(this.#session.scope(), ...told));
    if (told !== undefined && isAnswer) this.#sendClient(localReply(...told, true, exchange?.request));
    if (reset) this.#abort(true);
    else this.#closeGently();
  }

  #answerForServer(code: number, body: string): void {
    this.#fail({ told: [code, body], isAnswer: true, reset: false });
  }

  /** Refuses what is not proper HTTP, and closes: what follows cannot be trusted to start where we think. */
  #refuse(error: HttpError): void {
    const { status, reason } = error;
    const exchange = this.#exchange;
    recordRefusal(this.#session, exchange, error);
    // Once a response is under way nothing can be said any more.
    if (exchange?.response !== undefined || (exchange?.interimResponses ?? 0) > 0) {
      this.#abort(true);
      return;
    }
    if (exchange !== undefined) this.#upstream?.destroy(true);
    this.#sendClient(localReply(status, `${reason}\r\n`, true, exchange?.request));
    this.#closeGently();
  }

  #sendUpstream(bytes: Buffer): void {
    if (bytes.length > 0 && this.#upstream?.write(bytes) === false) this.#client.pause();
  }

  #sendClient(bytes: Buffer | string): void {
    if (!this.#client.send(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes)) this.#upstream?.pause();
  }

  #closeGently(): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    this.#state = "closing";
    this.#heads.release();
    this.#upstream?.close();
    this.#client.close();
  }

  #abort(reset: boolean): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#heads.release();
    this.#upstream?.destroy(reset);
    this.#http2?.destroy(reset);
    // In HTTP/2 the end is announced.
    this.#client.destroy(reset && this.#http2 === undefined);
  }
}
