import { accessRecord, UNREADABLE_HTTP } from "../access-record.ts";
import { Asked } from "../http/asked.ts";
import { readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { HeadReader } from "../http/head-reader.ts";
import { judge } from "../http/judge.ts";
import { parseRequestHead, type RequestHead } from "../http/request-head.ts";
import { parseResponseHead } from "../http/response-head.ts";
import type { HttpSession } from "../http/session.ts";
import type { AccessDenial } from "../protocol.ts";
import type { Witness } from "./witness.ts";

/** Of one connection; a client that pipelines more is read no more. */
const MAX_UNANSWERED = 1000;

type State = "reading" | "tunnel" | "lost";

/** HTTP/1 as both sides speak it. Requests are judged when their heads are whole; answers are matched to them in their order. */
export class HttpWitness implements Witness {
  readonly #session: HttpSession;
  readonly #denial: () => AccessDenial;
  readonly #requests: HeadReader;
  readonly #responses: HeadReader;
  /** The last one may still be sent, the first is being answered. */
  readonly #exchanges: Exchange[] = [];
  #sending: Exchange | undefined;
  #state: State = "reading";
  #finishing = false;

  /** `denial`: what the rules would say to what is not HTTP. */
  constructor(session: HttpSession, denial: () => AccessDenial) {
    this.#session = session;
    this.#denial = denial;
    this.#requests = new HeadReader(session.limits.headBytes);
    this.#responses = new HeadReader(session.limits.headBytes);
  }

  get idle(): boolean {
    return this.#state === "reading" && this.#exchanges.length === 0 && !this.#requests.partial;
  }

  finish(): boolean {
    this.#finishing ||= this.#state === "reading" && !this.#requests.partial;
    return this.#finishing;
  }

  fromClient(chunk: Buffer): boolean {
    let [input, at] = [chunk, 0];
    while (this.#state === "reading" && at < input.length) {
      if (this.#sending !== undefined) {
        at = this.#readBody(this.#sending, input, at);
        continue;
      }
      if (this.#finishing) return false;
      this.#requests.hold(input.subarray(at));
      const head = this.#requests.next();
      if (head === undefined) break;
      const request = "status" in head ? head : parseRequestHead(head.text, this.#session.limits);
      if ("status" in head || "status" in request) this.#lose("status" in request ? request.reason : "not HTTP");
      else {
        this.#begin(request);
        [input, at] = [head.input, head.end];
      }
    }
    return !this.#finishing || this.#state === "reading";
  }

  /** Gives where the body ends in `input`. */
  #readBody(exchange: Exchange, input: Buffer, at: number): number {
    const end = exchange.requestBody.read(input, at);
    if (exchange.requestDone) this.#sending = undefined;
    if (typeof end === "number") return end;
    this.#lose(end.reason);
    return at;
  }

  #begin(request: RequestHead): void {
    const exchange = judge(this.#session, new Asked(request))?.exchange;
    if (exchange === undefined) {
      this.#leave("lost");
      return;
    }
    if (this.#exchanges.push(exchange) > MAX_UNANSWERED) {
      this.#lose("too many requests without an answer");
      return;
    }
    if (!exchange.requestDone) this.#sending = exchange;
  }

  fromServer(chunk: Buffer): Buffer {
    let [input, at] = [chunk, 0];
    while (this.#state === "reading" && at < input.length) {
      const exchange = this.#exchanges[0];
      if (exchange === undefined) {
        this.#lose("the server spoke unasked");
      } else if (exchange.responseBody !== undefined) {
        const end = exchange.responseBody.read(input, at);
        if (typeof end === "number") at = end;
        else this.#lose(end.reason);
      } else {
        this.#responses.hold(input.subarray(at));
        const head = this.#responses.next();
        if (head === undefined) break;
        if ("status" in head) this.#lose(head.reason);
        else {
          this.#answer(exchange, head.text);
          [input, at] = [head.input, head.end];
        }
      }
      if (exchange?.responseDone === true) this.#exchanges.shift();
    }
    return chunk;
  }

  #answer(exchange: Exchange, text: string): void {
    const { request } = exchange;
    const response = parseResponseHead(text, request, this.#session.limits);
    if ("status" in response) this.#lose(response.reason);
    else if (!response.interim) {
      exchange.response = response;
      exchange.responseBody = readBody(response.framing, this.#session.limits);
      this.#session.record(exchange.responseRecord(this.#session.scope(), response));
      if (response.tunnel && request.h2c) this.#lose("went on with HTTP/2, which is not read here");
      else if (response.tunnel) this.#leave("tunnel");
    }
  }

  /** From here on nothing is read, and that is reported once. */
  #lose(error: string): void {
    this.#leave("lost");
    const fixed = { kind: "request", verdict: "AUDIT", policyRevision: this.#session.policy()?.revision ?? 0 } as const;
    const http = { ...UNREADABLE_HTTP, code: 0 };
    this.#session.record(accessRecord(this.#session.scope(), fixed, http, { error, denied: this.#denial() }));
  }

  #leave(state: "tunnel" | "lost"): void {
    this.#state = state;
    this.#sending = undefined;
    this.#exchanges.length = 0;
    this.#requests.release();
    this.#responses.release();
  }
}
