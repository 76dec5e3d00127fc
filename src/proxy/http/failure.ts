import type { Exchange } from "./exchange.ts";
import type { HttpError } from "./http-error.ts";
import { upstreamFailure } from "./local-reply.ts";

/** How a connection ends whose server has failed. */
export interface Failure {
  /** Code and text: told to the client in the server's place where nothing has been told yet, and in the exchange's record. */
  readonly told: readonly [code: number, text: string] | undefined;
  readonly isAnswer: boolean;
  /** The client sees an error: what it has is not whole, or nothing can be said any more. */
  readonly reset: boolean;
}

/** The server has closed (no `error`) or the connection to it has broken. `isFirst`: the exchange is the first of that connection. */
export function serverGone(exchange: Exchange | undefined, isFirst: boolean, error: NodeJS.ErrnoException | undefined): Failure {
  const text = upstreamFailure(error?.code);
  // On a connection that was used before, the client knows best whether to try again: it sees the close as it would without a proxy.
  if (exchange?.unanswered === true && isFirst) return { told: [503, text], isAnswer: true, reset: false };
  const isCut = exchange?.isWhole(error === undefined) === false;
  return { told: isCut ? [exchange.response?.code ?? 0, text] : undefined, isAnswer: false, reset: error !== undefined };
}

/** The server has said what is no proper HTTP. */
export function badResponse(exchange: Exchange | undefined, { reason }: HttpError): Failure {
  const response = exchange?.response;
  if (response === undefined) return { told: [502, `bad response: ${reason}`], isAnswer: true, reset: false };
  return { told: [response.code, reason], isAnswer: false, reset: true };
}
