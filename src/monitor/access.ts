import type { AccessDenial, AccessPeer, AccessRecord, ProxyDirection, RuleOrigin } from "#proxy/protocol.ts";
import type { L7Event } from "./events.ts";

/** A DNS question or answer seen by a DNS proxy or by watching port 53. */
export interface DnsAccess {
  readonly type: "dns-access";
  /** Milliseconds since 1970, with fractions. */
  readonly time: number;
  readonly kind: "request" | "response";
  readonly verdict: "FORWARDED" | "DROPPED" | "ERROR";
  readonly direction: ProxyDirection;
  /** The endpoint that asks. */
  readonly endpointId: number;
  readonly protocol: "UDP" | "TCP";
  /** Who asks and the name server, for requests and responses alike. */
  readonly source: AccessPeer;
  readonly destination: AccessPeer;
  readonly dns: {
    /** With the trailing dot. */
    readonly query: string;
    readonly qtypes: readonly string[];
    readonly rcode: number;
    readonly ips: readonly string[];
    readonly ttl: number;
    readonly cnames: readonly string[];
    readonly rrtypes: readonly string[];
    /** `proxy`, or `agent` when it was only watched. */
    readonly source: string;
  };
  readonly latencyNs: number;
  readonly origins?: readonly RuleOrigin[];
  readonly denied?: AccessDenial;
  readonly policyRevision: number;
}

/** An access record as an event. */
export function l7Event(access: AccessRecord | DnsAccess): L7Event {
  return { type: "l7", time: BigInt(Math.round(access.time * 1000)) * 1000n, access };
}
