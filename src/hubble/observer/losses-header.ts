/** What a server has lost since its start. */
export interface Losses {
  /** Events that never became flows: the kernel's ring was full, or a proxy's queue. */
  readonly events: bigint;
  /** Entries that the history on disk did not take. */
  readonly history: bigint;
}

/** Response headers of ServerStatus, whose message has no fields for losses. Absent when there are none. */
const HEADERS = { events: "hubble-lost-events", history: "hubble-lost-from-history" } as const;

/** Says what was lost. */
export function tellLosses(headers: Headers, { events, history }: Losses): void {
  if (events > 0n) headers.set(HEADERS.events, String(events));
  if (history > 0n) headers.set(HEADERS.history, String(history));
}

/** What `tellLosses` said; zeros for a server that says nothing. */
export function lossesOf(headers: Headers): Losses {
  const count = (name: string) => {
    const text = headers.get(name) ?? "";
    return /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
  };
  return { events: count(HEADERS.events), history: count(HEADERS.history) };
}
