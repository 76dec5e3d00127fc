import { accessHttp, type RecordScope } from "../access-record.ts";
import { keepText } from "../control/access-line.ts";
import { type Decision, decide, type PeerPolicy } from "../policy/decide.ts";
import type { AccessHttp } from "../protocol.ts";
import { hasLookalike, headerValue } from "./header-fields.ts";
import type { HttpError } from "./http-error.ts";
import { type HttpLimits, MAX_REPEATED } from "./limits.ts";
import { parseRequestHead, type RequestHead } from "./request-head.ts";
import type { ResponseHead } from "./response-head.ts";

type Answer = Pick<ResponseHead, "code" | "headers">;

/** A request, and what follows from it alone: worked out once, however often a connection asks the same. */
export class Asked {
  readonly request: RequestHead;
  #decided: { readonly rules: PeerPolicy; readonly decision: Decision } | undefined;
  #shown: { readonly scope: RecordScope; readonly http: AccessHttp } | undefined;
  #answer: { readonly scope: RecordScope; readonly answer: Answer; readonly http: AccessHttp } | undefined;

  constructor(request: RequestHead) {
    this.request = request;
  }

  /** What the rules say to it. */
  decide(rules: PeerPolicy): Decision {
    if (this.#decided?.rules === rules) return this.#decided.decision;
    const { method, path, host, headers } = this.request;
    const decision = decide(rules, {
      ...{ method, path, host },
      header: (name) => headerValue(headers, name),
      hasLookalike: (name) => hasLookalike(headers, name),
    });
    this.#decided = { rules, decision };
    return decision;
  }

  /** As records show it before it is answered. */
  shown(scope: RecordScope): AccessHttp {
    const last = this.#shown;
    if (last?.scope === scope) return keepText(last.http);
    const http = accessHttp(scope, this.request, 0);
    this.#shown = { scope, http };
    return http;
  }

  /** As records show it with its answer. */
  answered(scope: RecordScope, answer: Answer): AccessHttp {
    const last = this.#answer;
    if (last?.scope === scope && last.answer === answer) return keepText(last.http);
    const http = accessHttp(scope, this.request, answer.code, answer);
    this.#answer = { scope, answer, http };
    return http;
  }
}

/** Reads the requests of one connection: the same text again is the same request. */
export class RequestParser {
  readonly #limits: HttpLimits;
  #before: { readonly text: string; readonly asked: Asked } | undefined;

  constructor(limits: HttpLimits) {
    this.#limits = limits;
  }

  /** Of a whole head (latin1, with its blank line). */
  parse(text: string): Asked | HttpError {
    if (this.#before?.text === text) return this.#before.asked;
    const request = parseRequestHead(text, this.#limits);
    if ("status" in request) return request;
    const asked = new Asked(request);
    this.#before = text.length > MAX_REPEATED ? undefined : { text, asked };
    return asked;
  }
}
