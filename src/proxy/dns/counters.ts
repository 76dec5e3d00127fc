/** What the DNS proxy counts; `../prometheus.ts` shows it. */
export interface DnsCounters {
  forwarded: number;
  denied: number;
  answered: number;
  /** Answers that were replaced by SERVFAIL, since the kernel could not be told of their addresses. */
  withheld: number;
  timeouts: number;
  /** Datagrams and streams that are no DNS. */
  malformed: number;
  /** Answers that fit no question: wrong id or question, or too late. */
  unasked: number;
  /** Questions of endpoints or to ports that the policy does not mention. */
  unknown: number;
  /** Questions that could not be sent on: too many, or no socket. */
  overload: number;
  /** Bytes of the last second's answers: seconds from question to answer, added up. */
  readonly upstreamSeconds: { sum: number; count: number };
}

/** All zero. */
export function createDnsCounters(): DnsCounters {
  return {
    forwarded: 0,
    denied: 0,
    answered: 0,
    withheld: 0,
    timeouts: 0,
    malformed: 0,
    unasked: 0,
    unknown: 0,
    overload: 0,
    upstreamSeconds: { sum: 0, count: 0 },
  };
}
