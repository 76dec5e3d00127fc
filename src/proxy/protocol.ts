/**
 * The conversation between agent and proxy: one JSON object a line over the proxy's Unix socket. The agent connects and sends whole
 * policy snapshots; the proxy acknowledges each and sends access records. Both sides ignore fields that they do not know.
 */

export const DEFAULT_SOCKET_PATH = "/var/run/cilium/proxy.sock";
export const DEFAULT_STATE_PATH = "/var/run/cilium/state/proxy-policy.json";

/** Where the kernel sends redirected connections. The listeners are transparent and refuse whoever connects to them directly. */
export const PROXY_PORTS = { ingress: 10001, egress: 10002 } as const;

/** The low bits of the mark on the proxy's own packets; the upper 16 bits are the identity of the peer that the proxy speaks for. */
export const PROXY_MARKS = { ingress: 0xa00, egress: 0xb00 } as const;

export type ProxyDirection = "ingress" | "egress";

/** Points at a rule as its author wrote it; `index` counts from 0 in the list `section`, `spec` in `specs` (0 for `spec`). */
export interface RuleOrigin {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly section?: string;
  readonly index?: number;
  readonly spec?: number;
}

/** What happens when a header of a rule is missing or different. Absent: the rule does not match. */
export type Mismatch = "LOG" | "ADD" | "DELETE" | "REPLACE";

export interface HeaderMatch {
  readonly name: string;
  /** The expected value, secrets already resolved by the agent. Absent or empty: any value. */
  readonly value?: string;
  /** Where the value comes from. Without a `value` beside it the secret is unknown, and the rule matches nothing. */
  readonly secret?: unknown;
  readonly mismatch?: Mismatch;
}

/** An HTTP rule of a policy. `path` (with query), `method` and `host` are RE2 expressions that must match the whole text. */
export interface HttpRule {
  readonly path?: string;
  readonly method?: string;
  readonly host?: string;
  /** `Name` (present) or `Name: value` (equal). */
  readonly headers?: readonly string[];
  readonly headerMatches?: readonly HeaderMatch[];
}

export interface PeerRule {
  /** Numeric identities of the peers; null: any peer. */
  readonly identities: readonly number[] | null;
  /** What the peers may ask for; null: everything. */
  readonly http: readonly HttpRule[] | null;
  readonly origins: readonly RuleOrigin[];
}

export interface PortPolicy {
  readonly port: number;
  readonly endPort?: number;
  readonly protocol: "TCP";
  readonly parser: "http";
  readonly rules: readonly PeerRule[];
}

export interface EndpointPolicy {
  readonly id: number;
  readonly identity: number;
  readonly ips: readonly string[];
  readonly namespace?: string;
  readonly podName?: string;
  readonly labels?: readonly string[];
  readonly ingress: readonly PortPolicy[];
  readonly egress: readonly PortPolicy[];
}

/**
 * The whole policy: replaces what was there before. What it does not mention is denied, so the agent sends its first one only after it
 * has restored all its endpoints.
 */
export interface PolicyMessage {
  readonly type: "policy";
  readonly revision: number;
  readonly endpoints: readonly EndpointPolicy[];
}

/** Asks for access records without changing the policy. Sending a policy asks for them too. The newest asker gets them. */
export interface SubscribeMessage {
  readonly type: "subscribe";
}

/** Asks for one `StatusMessage`. */
export interface StatusRequest {
  readonly type: "status";
}

export type AgentMessage = PolicyMessage | SubscribeMessage | StatusRequest;

/** The policy of this revision is in force and on disk. */
export interface AckMessage {
  readonly type: "ack";
  readonly revision: number;
}

/** The message was refused and changed nothing; every issue names its place (`endpoints[3].ingress[0].port`). */
export interface NackMessage {
  readonly type: "nack";
  readonly revision: number | null;
  readonly issues: readonly { readonly path: string; readonly message: string }[];
}

/** So many access records were dropped since the last `lost` because nobody took them in time. */
export interface LostMessage {
  readonly type: "lost";
  readonly count: number;
}

export interface StatusMessage {
  readonly type: "status";
  /** null: no policy yet, everything is denied. */
  readonly revision: number | null;
  /** The policy came from disk and no agent has sent one since. */
  readonly restored: boolean;
  readonly endpoints: number;
  readonly redirects: number;
  readonly connections: number;
}

export interface AccessPeer {
  readonly ip: string;
  readonly port: number;
  readonly identity: number;
}

/** A rule that could have allowed a denied request, and what kept it from doing so. */
export interface NearMiss {
  readonly origins: readonly RuleOrigin[];
  /** Position in the rule's `http` list; absent when the rule is for other peers. */
  readonly httpIndex?: number;
  readonly mismatches: readonly Mismatched[];
}

export interface Mismatched {
  readonly field: "identity" | "method" | "path" | "host" | "header";
  /** What the rule wants: the expression, or the header as `Name` or `Name: value` (values of headerMatches are not shown). */
  readonly wanted: string;
  readonly found: string;
}

export interface AccessDenial {
  /** All rules of this endpoint and port that were asked. */
  readonly origins: readonly RuleOrigin[];
  /** The rules that came nearest, best first; at most three. */
  readonly nearest: readonly NearMiss[];
  readonly reason: "policy" | "no-policy" | "ambiguous-path";
  /** For `ambiguous-path`: the reading of the path that no rule allows. */
  readonly reading?: string;
}

/** One request or its response, as seen by the proxy of one direction. */
export interface AccessMessage {
  readonly type: "access";
  /** Milliseconds since 1970, with fractions. */
  readonly time: number;
  readonly kind: "request" | "response";
  /** ERROR: malformed input, or the server could not be reached or answered nonsense. */
  readonly verdict: "FORWARDED" | "DROPPED" | "ERROR";
  readonly direction: ProxyDirection;
  /** The endpoint whose policy was asked: the server for ingress, the client for egress. */
  readonly endpointId: number;
  /** Client and server of the connection, for requests and responses alike. */
  readonly source: AccessPeer;
  readonly destination: AccessPeer;
  readonly http: AccessHttp;
  /** From the end of the request's head to the end of the response's head; 0 for requests. */
  readonly latencyNs: number;
  /** The rules that allowed it. */
  readonly origins?: readonly RuleOrigin[];
  readonly denied?: AccessDenial;
  /** For ERROR: what was wrong. */
  readonly error?: string;
  readonly policyRevision: number;
  /** Header expectations with mismatch actions that were not met (`LOG`, `ADD`, …). */
  readonly missingHeaders?: readonly string[];
}

export interface AccessHttp {
  readonly method: string;
  /** `http://host/path?query`. */
  readonly url: string;
  readonly protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";
  /** 0 for requests that were forwarded. */
  readonly code: number;
  /** Selected headers; never credentials. */
  readonly headers: readonly { readonly key: string; readonly value: string }[];
}

export type ProxyMessage = AckMessage | NackMessage | LostMessage | StatusMessage | AccessMessage;
