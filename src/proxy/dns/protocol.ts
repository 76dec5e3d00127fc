import type { FqdnSelector } from "#fqdn/pattern.ts";
import type { AccessDenial, AccessPeer, ProxyDirection, RuleOrigin } from "../protocol.ts";

/** Where the kernel sends redirected DNS, UDP and TCP. */
export const DNS_PROXY_PORT = 10053;

/** Seconds after an answer's time to live in which a connection may still begin: it is on its way while the answer expires. */
export const NAME_GRACE = 5;

export const DEFAULT_DNS_STATE_PATH = "/var/run/cilium/state/dns-policy.json";
export const DEFAULT_DNS_CACHE_PATH = "/var/run/cilium/state/dns-cache.ndjson";

/** How names are refused and remembered: the agent's `--tofqdns-*` settings. */
export interface DnsSettings {
  readonly rejectWith: "refused" | "nameError";
  /** Seconds for which an address is allowed at the least. */
  readonly minTtl: number;
  readonly maxIpsPerName: number;
  /** Addresses of one endpoint that are kept only because connections still use them. */
  readonly maxDeferred: number;
  /** Seconds after its time to live for which an address begins connections, if more than `NAME_GRACE`. */
  readonly grace: number;
  /** Questions that may be under way at a time, of all endpoints; 0: as many as there is room for. */
  readonly maxCalls: number;
}

/** Upstream's. */
export const DEFAULT_DNS_SETTINGS: DnsSettings = {
  rejectWith: "refused",
  ...{ minTtl: 0, maxIpsPerName: 1000, maxDeferred: 10_000, grace: 0, maxCalls: 0 },
};

/** Names that some peers may be asked for. */
export interface DnsRule {
  /** Numeric identities of the servers; null: any. */
  readonly identities: readonly number[] | null;
  /** Null: every name. */
  readonly names: readonly FqdnSelector[] | null;
  readonly origins: readonly RuleOrigin[];
}

export interface DnsPort {
  readonly port: number;
  /** 6 TCP, 17 UDP, 0 both. */
  readonly protocol: number;
  readonly rules: readonly DnsRule[];
}

/** A selector of `toFQDNs` and the identity that stands for it in the endpoint's policy map. */
export type NamedIdentity = FqdnSelector & { readonly identity: number };

export interface DnsEndpoint {
  readonly id: number;
  /** Another one under the same number is another endpoint: it inherits no names. */
  readonly key: string;
  readonly identity: number;
  readonly ips: readonly string[];
  readonly ports: readonly DnsPort[];
  /** The rules that would be in force without audit mode, as in `EndpointPolicy.audit`. */
  readonly audit?: readonly DnsPort[];
  readonly selectors: readonly NamedIdentity[];
}

/** The whole DNS policy: replaces what was there before. Names of endpoints that it does not mention are forgotten. */
export interface DnsPolicyMessage {
  readonly type: "dns-policy";
  readonly revision: number;
  readonly settings: DnsSettings;
  readonly endpoints: readonly DnsEndpoint[];
}

/** Asks for all learned names: any number of `DnsCacheMessage`, the last one says so. */
export interface DnsCacheRequest {
  readonly type: "dns-cache";
}

/** Forgets names and takes their addresses out of the kernel; all, or those a pattern matches. Answered as `DnsCacheRequest` is. */
export interface DnsCleanRequest {
  readonly type: "dns-clean";
  readonly matchPattern?: string;
}

/** A name as an endpoint learned it. */
export interface DnsCacheEntry {
  readonly endpointId: number;
  /** With the final dot. */
  readonly name: string;
  readonly ips: readonly string[];
  /** As the server said, seconds. */
  readonly ttl: number;
  /** Milliseconds since 1970. */
  readonly lookupTime: number;
  readonly expires: number;
  /** `connection`: the time is over, a connection still uses it. */
  readonly source: "lookup" | "connection";
}

export interface DnsCacheMessage {
  readonly type: "dns-cache";
  readonly entries: readonly DnsCacheEntry[];
  readonly last: boolean;
}

/** A DNS question or answer seen by the DNS proxy or by watching port 53. */
export interface DnsAccessMessage {
  readonly type: "dns-access";
  /** Milliseconds since 1970, with fractions. */
  readonly time: number;
  readonly kind: "request" | "response";
  readonly verdict: "FORWARDED" | "DROPPED" | "AUDIT" | "ERROR";
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
    /** `proxy`, or empty when it was only watched. */
    readonly source: string;
  };
  readonly latencyNs: number;
  readonly origins?: readonly RuleOrigin[];
  readonly denied?: AccessDenial;
  /** For ERROR: what was wrong. */
  readonly error?: string;
  readonly policyRevision: number;
}
