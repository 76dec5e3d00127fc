import { accessRecord, UNREADABLE_HTTP } from "../access-record.ts";
import type { HeaderAction } from "../policy/http-rule.ts";
import type { Asked } from "./asked.ts";
import { Exchange } from "./exchange.ts";
import type { HttpError } from "./http-error.ts";
import type { HttpSession } from "./session.ts";

/** A request with its verdict: `actions` on its headers when it is allowed, undefined when it is denied. */
export interface Judged {
  readonly exchange: Exchange;
  readonly actions: readonly HeaderAction[] | undefined;
}

/** Asks the policy now in force about a request and records the answer; null when the connection is not the proxy's any more. */
export function judge(session: HttpSession, asked: Asked): Judged | null {
  const policy = session.policy();
  if (policy === null) return null;
  const exchange = new Exchange(asked, session.limits, policy.revision, policy.rules.headerNames);
  // First, since a request remembers the last rules it was asked about.
  const audited = policy.audited === null ? undefined : asked.decide(policy.audited);
  const decision = asked.decide(policy.rules);
  const scope = session.scope();
  if (!decision.allowed) {
    session.record(exchange.deniedRecord(scope, decision.denied));
    return { exchange, actions: undefined };
  }
  session.record(audited?.allowed === false ? exchange.auditedRecord(scope, audited.denied) : exchange.forwardedRecord(scope, decision));
  return { exchange, actions: decision.actions };
}

/** Records that a request was refused, or that what came was none. */
export function recordRefusal(session: HttpSession, exchange: Exchange | undefined, { status, reason }: HttpError): void {
  const scope = session.scope();
  const fixed = { kind: "request", verdict: "ERROR", policyRevision: session.policy()?.revision ?? 0 } as const;
  const http = { ...UNREADABLE_HTTP, code: status };
  session.record(exchange?.errorRecord(scope, status, reason) ?? accessRecord(scope, fixed, http, { error: reason }));
}
