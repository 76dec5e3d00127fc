import type { Exchange } from "../http/exchange.ts";
import type { Asker } from "./local-answer.ts";

/** A request that the server knows, with the same number on both sides, until both have ended it. */
export class Stream {
  readonly id: number;
  readonly exchange: Exchange;
  readonly asker: Asker;
  /** The client has said all; so has the server. */
  requestDone = false;
  responseDone = false;
  /** The client has the head of the server's answer. */
  answered = false;
  /** When the client last said something, by the session's clock. */
  movedAt: number;
  /** Bytes that the request's body must still have; undefined when it does not say. */
  #left: number | undefined;

  constructor(id: number, exchange: Exchange, asker: Asker, length: number | undefined, now: number) {
    this.id = id;
    this.exchange = exchange;
    this.asker = asker;
    this.#left = length;
    this.movedAt = now;
  }

  /** Bytes of the request's body, and whether they are the last; false when that is not the length it has said (RFC 9113 §8.1.1). */
  read(bytes: number, isEnd: boolean, now: number): boolean {
    this.movedAt = now;
    this.requestDone = isEnd;
    if (this.#left === undefined) return true;
    this.#left -= bytes;
    return this.#left >= 0 && (!isEnd || this.#left === 0);
  }
}
