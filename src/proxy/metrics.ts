import type { AccessMessage, ProxyDirection } from "./protocol.ts";

/** What the proxy counts. Everything is a plain number; `cmd/proxy.ts` shows them to Prometheus. */
export interface ProxyCounters {
  readonly requests: Record<ProxyDirection, Record<AccessMessage["verdict"], number>>;
  /** Connections that were not served, by why. */
  readonly refused: Record<RefusalReason, number>;
  accepted: number;
}

/** direct: nobody redirected it. no-policy: the policy does not know it. limit: too many. client-limit: too many of one client. identity: the maps could not be read. */
export type RefusalReason = "direct" | "no-policy" | "limit" | "client-limit" | "identity";

/** All zero. */
export function createCounters(): ProxyCounters {
  const verdicts = () => ({ FORWARDED: 0, DROPPED: 0, AUDIT: 0, ERROR: 0 });
  return {
    requests: { ingress: verdicts(), egress: verdicts() },
    refused: { direct: 0, "no-policy": 0, limit: 0, "client-limit": 0, identity: 0 },
    accepted: 0,
  };
}
