/** Response header of ServerStatus: events lost since the start, which upstream's message has no field for. Absent when none were. */
const LOST_HEADER = "hubble-lost-events";

/** Says how many events were lost. */
export function tellLost(headers: Headers, lost: bigint): void {
  if (lost > 0n) headers.set(LOST_HEADER, String(lost));
}

/** What `tellLost` said; 0 for a server that says nothing. */
export function lostOf(headers: Headers): bigint {
  const text = headers.get(LOST_HEADER) ?? "";
  return /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
}
