import { accessHttp, accessRecord, RECORD_EPOCH, type RecordScope } from "../access-record.ts";
import type { HttpRecord } from "../control/access-line.ts";
import { type Allowance, type Decision, decide, type PeerPolicy } from "../policy/decide.ts";
import type { AccessMessage } from "../protocol.ts";
import { hasLookalike, headerValue } from "./header-fields.ts";
import type { HttpError } from "./http-error.ts";
import { type HttpLimits, MAX_REPEATED } from "./limits.ts";
import { type HeaderSection, parseHeaderSection, parseRequestLine, type RequestHead, requestOf } from "./request-head.ts";
import type { ResponseHead } from "./response-head.ts";

type Answer = Pick<ResponseHead, "code" | "headers">;

/** A record that was made, and of what: the same again differs in its time and latency alone. */
interface Said<Of> {
  readonly of: Of;
  readonly scope: RecordScope;
  readonly revision: number;
  readonly record: AccessMessage;
}

/** A request, and what follows from it alone: worked out once, however often a connection asks the same. */
export class Asked {
  readonly request: RequestHead;
  #decided: { readonly rules: PeerPolicy; readonly decision: Decision } | undefined;
  #forwarded: Said<Allowance> | undefined;
  #answered: Said<Answer> | undefined;

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

  /** The record of its being allowed `now` (as `performance.now()`). */
  forwarded(scope: RecordScope, revision: number, decision: Allowance, now: number): HttpRecord {
    const last = this.#forwarded;
    if (isSaid(last, scope, revision, decision)) return { type: "repeated", like: last.record, time: RECORD_EPOCH + now, latencyNs: 0 };
    const { origins, actions } = decision;
    const outcome = actions.length === 0 ? { origins } : { origins, missingHeaders: actions.map(({ name }) => name) };
    const fixed = { kind: "request", verdict: "FORWARDED", policyRevision: revision } as const;
    const record = accessRecord(scope, fixed, accessHttp(scope, this.request, 0), outcome, now);
    this.#forwarded = { of: decision, scope, revision, record };
    return record;
  }

  /** The record of its answer. */
  answered(scope: RecordScope, revision: number, answer: Answer, now: number, latencyNs: number): HttpRecord {
    const last = this.#answered;
    if (isSaid(last, scope, revision, answer)) return { type: "repeated", like: last.record, time: RECORD_EPOCH + now, latencyNs };
    const fixed = { kind: "response", verdict: "FORWARDED", policyRevision: revision } as const;
    const record = accessRecord(scope, fixed, accessHttp(scope, this.request, answer.code, answer), { latencyNs }, now);
    this.#answered = { of: answer, scope, revision, record };
    return record;
  }
}

function isSaid<Of>(said: Said<Of> | undefined, scope: RecordScope, revision: number, of: Of): said is Said<Of> {
  return said !== undefined && said.of === of && said.scope === scope && said.revision === revision;
}

/** Reads the requests of one connection: the same text again is the same request, and the same headers below another first line are not read anew. */
export class RequestParser {
  readonly #limits: HttpLimits;
  #before: { readonly text: string; readonly asked: Asked } | undefined;
  #section: HeaderSection | undefined;

  constructor(limits: HttpLimits) {
    this.#limits = limits;
  }

  /** Of a whole head (latin1, with its blank line). */
  parse(text: string): Asked | HttpError {
    if (this.#before?.text === text) return this.#before.asked;
    const line = parseRequestLine(text);
    if ("status" in line) return line;
    const section = this.#sectionOf(text.slice(line.end), line.minor);
    const request = "status" in section ? section : requestOf(line, section);
    if ("status" in request) return request;
    const asked = new Asked(request);
    this.#before = text.length > MAX_REPEATED ? undefined : { text, asked };
    return asked;
  }

  #sectionOf(text: string, minor: 0 | 1): HeaderSection | HttpError {
    const last = this.#section;
    if (last?.text === text && last.minor === minor) return last;
    const section = parseHeaderSection(text, minor, this.#limits);
    this.#section = "status" in section || text.length > MAX_REPEATED ? undefined : section;
    return section;
  }
}
