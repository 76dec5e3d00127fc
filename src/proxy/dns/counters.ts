/** Upper bounds in seconds, as Prometheus' default. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** Times, counted by how long they are. */
export class Durations {
  readonly #counts = BOUNDS.map(() => 0);
  sum = 0;
  count = 0;

  observe(seconds: number): void {
    this.sum += seconds;
    this.count += 1;
    for (let i = BOUNDS.length - 1; i >= 0 && seconds <= (BOUNDS[i] ?? 0); i--) this.#counts[i] = (this.#counts[i] ?? 0) + 1;
  }

  /** How many were at most so long, for each bound and without one. */
  buckets(): (readonly [bound: string, count: number])[] {
    return [...BOUNDS.map((bound, i) => [String(bound), this.#counts[i] ?? 0] as const), ["+Inf", this.count] as const];
  }
}

/** What the DNS proxy counts; `../prometheus.ts` shows it. */
export interface DnsCounters {
  forwarded: number;
  denied: number;
  answered: number;
  /** Answers that were replaced by SERVFAIL, since the kernel could not be told of their addresses. */
  withheld: number;
  timeouts: number;
  /** What is no DNS, or a question that cannot be read. */
  malformed: number;
  /** Answers that fit no question: wrong id or question, or too late. */
  unasked: number;
  /** Questions of endpoints or to ports that the policy does not mention. */
  unknown: number;
  /** Questions that could not be sent on: too many, or no socket. */
  overload: number;
  /** From question to answer of the server. */
  readonly upstreamSeconds: Durations;
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
    upstreamSeconds: new Durations(),
  };
}
