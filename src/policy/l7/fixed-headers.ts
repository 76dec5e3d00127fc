const FIXED = new Set(["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"]);

/** Headers that steer framing or routing: no rule may change them, in any case. */
export function isFixedHeader(name: string): boolean {
  return FIXED.has(name.toLowerCase());
}
