import {
  DNS_PROXY_PORT,
  type DnsAccessMessage,
  type DnsCacheMessage,
  type DnsCacheRequest,
  type DnsCleanRequest,
  type DnsPolicyMessage,
} from "./dns/protocol.ts";

/**
 * The conversation between agent and proxy: one JSON object a line over the proxy's Unix socket. The agent connects and sends whole
 * policy snapshots; the proxy acknowledges each and sends access records. Both sides ignore fields that they do not know.
 */

export const DEFAULT_SOCKET_PATH = "/var/run/cilium/proxy.sock";
export const DEFAULT_STATE_PATH = "/var/run/cilium/state/proxy-policy.json";

/** Where the kernel sends redirected connections. The listeners are transparent and refuse whoever connects to them directly. */
export const PROXY_PORTS = { ingress: 10001, egress: 10002, dns: DNS_PROXY_PORT } as const;

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

/** A Kafka rule: what is absent matches everything. `topic` is compared with every topic of a request. */
export interface KafkaRule {
  readonly role?: "produce" | "consume";
  /** Name of a request type (`produce`, `fetch`, …), any case. */
  readonly apiKey?: string;
  readonly apiVersion?: string;
  readonly clientID?: string;
  readonly topic?: string;
}

/** PEM texts, taken from a Secret by the agent. */
export interface TlsMaterial {
  readonly certificate?: string;
  readonly privateKey?: string;
  readonly trustedCa?: string;
}

/** TLS that the proxy itself speaks, on one side of it; null: the Secret is unknown, so nothing can be allowed. */
export type TlsContext = TlsMaterial | null;

export interface PeerRule {
  /** Numeric identities of the peers; null: any peer. */
  readonly identities: readonly number[] | null;
  /** What connections are read as; absent: the rule says nothing about that and allows everything. */
  readonly parser?: "http" | "kafka" | "tls";
  /** What the peers may ask for; null: everything. */
  readonly http: readonly HttpRule[] | null;
  readonly kafka?: readonly KafkaRule[] | null;
  /** Names that a ClientHello may ask for (`*.` one label, `**.` many); null: any, and none. */
  readonly serverNames?: readonly string[] | null;
  /** The client's TLS ends here, and what is inside is judged. */
  readonly terminatingTls?: TlsContext;
  /** The server is called by TLS. */
  readonly originatingTls?: TlsContext;
  readonly origins: readonly RuleOrigin[];
}

export interface PortPolicy {
  readonly port: number;
  readonly endPort?: number;
  readonly protocol: "TCP";
  readonly rules: readonly PeerRule[];
  /** Nothing is enforced here: what cannot be read as the rules want it is passed on as it is. */
  readonly audited?: boolean;
}

/** The rules of both directions. */
export interface DirectionPolicies {
  readonly ingress: readonly PortPolicy[];
  readonly egress: readonly PortPolicy[];
}

export interface EndpointPolicy extends DirectionPolicies {
  readonly id: number;
  readonly identity: number;
  readonly ips: readonly string[];
  readonly namespace?: string;
  readonly podName?: string;
  readonly labels?: readonly string[];
  /**
   * The rules that would be in force without audit mode: what they alone would deny passes with the verdict AUDIT. A port that is only here is one
   * that the policy in force lets pass whole.
   */
  readonly audit?: DirectionPolicies;
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

export type AgentMessage = PolicyMessage | SubscribeMessage | StatusRequest | DnsPolicyMessage | DnsCacheRequest | DnsCleanRequest;

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
  /** The same for the rule's `kafka` list. */
  readonly kafkaIndex?: number;
  readonly mismatches: readonly Mismatched[];
}

export interface Mismatched {
  readonly field:
    | "identity"
    | "method"
    | "path"
    | "host"
    | "header"
    | "serverName"
    | "role"
    | "apiKey"
    | "apiVersion"
    | "clientID"
    | "topic"
    | "name";
  /** What the rule wants: the expression, or the header as `Name` or `Name: value` (values of headerMatches are not shown). */
  readonly wanted: string;
  readonly found: string;
}

export interface AccessDenial {
  /** All rules of this endpoint and port that were asked. */
  readonly origins: readonly RuleOrigin[];
  /** The rules that came nearest, best first; at most three. */
  readonly nearest: readonly NearMiss[];
  readonly reason: "policy" | "no-policy" | "ambiguous-path" | "unreadable";
  /** For `ambiguous-path`: the reading of the path that no rule allows. */
  readonly reading?: string;
}

/** What every record of the proxy tells. */
export interface AccessBase {
  /** Milliseconds since 1970, with fractions. */
  readonly time: number;
  readonly kind: "request" | "response";
  /** AUDIT: it passed; without audit mode it would have been `denied`. ERROR: malformed input, or the server could not be reached or answered nonsense. */
  readonly verdict: "FORWARDED" | "DROPPED" | "AUDIT" | "ERROR";
  readonly direction: ProxyDirection;
  /** The endpoint whose policy was asked: the server for ingress, the client for egress. */
  readonly endpointId: number;
  /** Client and server of the connection, for requests and responses alike. */
  readonly source: AccessPeer;
  readonly destination: AccessPeer;
  /** From the end of the request's head to the end of the response's head; 0 for requests. */
  readonly latencyNs: number;
  /** The rules that allowed it. */
  readonly origins?: readonly RuleOrigin[];
  readonly denied?: AccessDenial;
  /** For ERROR, and for what could not be read in audit mode: what was wrong. */
  readonly error?: string;
  readonly policyRevision: number;
}

/** One HTTP request or its response, as seen by the proxy of one direction. */
export interface AccessMessage extends AccessBase {
  readonly type: "access";
  readonly http: AccessHttp;
  /** Header expectations with mismatch actions that were not met (`LOG`, `ADD`, …). */
  readonly missingHeaders?: readonly string[];
}

/** One Kafka request. */
export interface KafkaAccess extends AccessBase {
  readonly type: "kafka-access";
  readonly kafka: {
    readonly apiKey: string;
    readonly apiVersion: number;
    readonly correlationId: number;
    /** Its topics, joined by commas. */
    readonly topic: string;
    /** Of the proxy's own answer to a denied request; 0 otherwise. */
    readonly errorCode: number;
  };
}

/** One TLS connection, judged by the name it asks for. */
export interface TlsAccess extends AccessBase {
  readonly type: "tls-access";
  readonly tls: { readonly serverName: string; readonly terminated: boolean };
}

export type AccessRecord = AccessMessage | KafkaAccess | TlsAccess;

export interface AccessHttp {
  readonly method: string;
  /** `http://host/path?query`. */
  readonly url: string;
  /** As Cilium's flows have it: `HTTP/1` is HTTP/1.0. */
  readonly protocol: "HTTP/1" | "HTTP/1.1" | "HTTP/2";
  /** 0 for requests that were forwarded. */
  readonly code: number;
  /** Selected headers; never credentials. */
  readonly headers: readonly { readonly key: string; readonly value: string }[];
}

export type ProxyMessage = AckMessage | NackMessage | LostMessage | StatusMessage | AccessRecord | DnsAccessMessage | DnsCacheMessage;
