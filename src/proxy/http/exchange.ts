import { accessHttp, accessRecord, type RecordScope, redactDenial } from "../access-record.ts";
import type { HttpRecord } from "../control/access-line.ts";
import type { Allowance } from "../policy/decide.ts";
import type { AccessDenial, AccessMessage } from "../protocol.ts";
import type { Asked } from "./asked.ts";
import { type BodyReader, readBody } from "./body.ts";
import type { HttpLimits } from "./limits.ts";
import type { RequestHead } from "./request-head.ts";
import type { ResponseHead } from "./response-head.ts";

/** One request and its response. */
export class Exchange {
  readonly request: RequestHead;
  readonly #asked: Asked;
  readonly requestBody: BodyReader;
  /** Set by the final response head. */
  response: ResponseHead | undefined;
  responseBody: BodyReader | undefined;
  interimResponses = 0;
  /** The connection ends with this answer, and the client is told. */
  isLast = false;
  /** The proxy answered itself; what the client still sends of the body is thrown away. */
  answered = false;
  #drained = 0;
  readonly #revision: number;
  readonly #started = performance.now();

  /** `decided`: the headers that the rules go by. */
  constructor(asked: Asked, limits: HttpLimits, revision: number, decided: ReadonlySet<string>) {
    this.#asked = asked;
    this.request = asked.request;
    this.requestBody = readBody(this.request.framing, limits, decided);
    this.#revision = revision;
  }

  get requestDone(): boolean {
    return this.requestBody.done;
  }

  get responseDone(): boolean {
    return this.answered || this.responseBody?.done === true;
  }

  /** The connection can carry another request after this one. */
  get reusable(): boolean {
    return this.request.keepAlive && !this.isLast && (this.answered || this.response?.keepAlive === true);
  }

  /** After a denial the connection must end: the client wants it, or nobody could tell (or would read so far) where the next request starts. */
  closesAfterDenial({ drainBytes }: HttpLimits): boolean {
    const { framing, keepAlive, expectContinue } = this.request;
    // Whoever asked to be told before sending a body may or may not send it now.
    return !keepAlive || expectContinue || (framing.kind === "length" && framing.length > drainBytes);
  }

  /** The server has answered without saying that it waits for the body: it may not read it as one, whether the client sends it or not (RFC 9110 §10.1.1). */
  get leavesBody(): boolean {
    return this.request.expectContinue && this.request.framing.kind !== "none" && this.interimResponses === 0;
  }

  /** Throws away body bytes from `from` on. Returns where the body ends in them; undefined when it is no body, or too long to wait for its end. */
  drain(input: Buffer, from: number, { drainBytes }: HttpLimits): number | undefined {
    const end = this.requestBody.read(input, from);
    if (typeof end !== "number") return undefined;
    this.#drained += end - from;
    return this.#drained > drainBytes ? undefined : end;
  }

  /** Nothing of a response has come, and the proxy has not answered either. */
  get unanswered(): boolean {
    return this.response === undefined && !this.answered && this.interimResponses === 0;
  }

  /** The response is whole when the server's connection ends now, in order or not. */
  isWhole(inOrder: boolean): boolean {
    return this.responseDone || (this.response?.framing.kind === "until-close" && inOrder);
  }

  forwardedRecord(scope: RecordScope, allowance: Allowance): HttpRecord {
    return this.#asked.forwarded(scope, this.#revision, allowance, this.#started);
  }

  deniedRecord(scope: RecordScope, denied: AccessDenial): AccessMessage {
    return this.#record(scope, { kind: "request", verdict: "DROPPED" }, 403, { denied: redactDenial(denied) });
  }

  auditedRecord(scope: RecordScope, denied: AccessDenial): AccessMessage {
    return this.#record(scope, { kind: "request", verdict: "AUDIT" }, 0, { denied: redactDenial(denied) });
  }

  responseRecord(scope: RecordScope, response: Pick<ResponseHead, "code" | "headers">): HttpRecord {
    const now = performance.now();
    return this.#asked.answered(scope, this.#revision, response, now, this.#latency(now));
  }

  /** The proxy answered for the server, or broke the connection off. */
  errorRecord(scope: RecordScope, code: number, error: string): AccessMessage {
    return this.#record(scope, { kind: "response", verdict: "ERROR" }, code, { error, latencyNs: this.#latency() });
  }

  #record(
    scope: RecordScope,
    fixed: Pick<AccessMessage, "kind" | "verdict">,
    code: number,
    outcome: Parameters<typeof accessRecord>[3],
  ): AccessMessage {
    return accessRecord(scope, { ...fixed, policyRevision: this.#revision }, accessHttp(scope, this.request, code), outcome);
  }

  #latency(now = performance.now()): number {
    return Math.round((now - this.#started) * 1e6);
  }
}
