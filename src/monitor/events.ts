import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import type { AccessRecord } from "#proxy/protocol.ts";

/** Which way traffic went, seen from the endpoint of the event. */
export type EventDirection = "unknown" | "ingress" | "egress";

/** A packet the datapath dropped, saw or judged: `struct event` of bpf/lib/event_types.h. */
export interface PacketEvent {
  readonly type: "drop" | "trace" | "policy-verdict";
  /** Drop: the reason. Trace: the observation point, datapath numbers. Verdict: 0. */
  readonly subtype: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly direction: EventDirection;
  /** Undefined: conntrack was not asked. */
  readonly isReply: boolean | undefined;
  readonly audit: boolean;
  /** The captured bytes begin with the IP header. */
  readonly l3Device: boolean;
  /** The endpoint of this node it was judged for or seen at; 0: none. */
  readonly endpointId: number;
  readonly matchType: number;
  /** -errno of a failed kernel function, or 0. */
  readonly extError: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** The endpoint of this node it goes to; 0: none or not known. */
  readonly destinationEndpointId: number;
  /** Rules that decided; 0: none. */
  readonly cookie: number;
  readonly ifindex: number;
  readonly hash: number;
  /** 0 allowed, above 0 the port of the proxy it goes to, below 0 minus the drop reason. */
  readonly verdict: number;
  readonly line: number;
  readonly file: number;
  /** What conntrack said: 0 new, 1 established, 2 reply, 3 related, 5 not asked. */
  readonly ctReason: number;
  readonly originalLength: number;
  readonly packet: Uint8Array;
}

/** A service translation at a socket: `struct sock_event`. */
export interface SocketEvent {
  readonly type: "trace-sock";
  /** 1 and 2 before and after the translation of a request's address, 3 and 4 of an answer's. */
  readonly subtype: number;
  readonly time: bigint;
  readonly protocol: number;
  readonly ipv6: boolean;
  readonly noBackend: boolean;
  readonly destinationIp: string;
  readonly destinationPort: number;
  readonly socketCookie: bigint;
  readonly cgroupId: bigint;
}

/** A request or response at the proxy, or a DNS question or answer. */
export interface L7Event {
  readonly type: "l7";
  readonly time: bigint;
  readonly access: AccessRecord | DnsAccessMessage;
}

/** What an agent event carries, by kind. */
export type AgentPayload =
  | { readonly kind: "agent-started"; readonly time: bigint }
  | {
      readonly kind: "policy-updated" | "policy-deleted";
      readonly labels: readonly string[];
      readonly revision: number;
      readonly ruleCount: number;
    }
  | {
      readonly kind: "endpoint-regenerate-success" | "endpoint-regenerate-failure";
      readonly id: number;
      readonly labels: readonly string[];
      readonly error: string;
    }
  | {
      readonly kind: "endpoint-created" | "endpoint-deleted";
      readonly id: number;
      readonly labels: readonly string[];
      readonly podName: string;
      readonly namespace: string;
    }
  | {
      readonly kind: "ipcache-upserted" | "ipcache-deleted";
      readonly cidr: string;
      readonly identity: number;
      readonly oldIdentity?: number;
      readonly hostIp: string;
      readonly oldHostIp: string;
      readonly encryptKey: number;
      readonly namespace: string;
      readonly podName: string;
    };

/** Something the agent did. */
export interface AgentEvent {
  readonly type: "agent";
  readonly time: bigint;
  readonly payload: AgentPayload;
}

/** Events that were lost on the way. */
export interface LostEvent {
  readonly type: "lost";
  readonly time: bigint;
  readonly source: "kernel" | "proxy" | "observer";
  readonly count: number;
}

/** Whatever the monitor has to say. */
export type MonitorEvent = PacketEvent | SocketEvent | L7Event | AgentEvent | LostEvent;

/** The present, in nanoseconds since 1970. */
export function nowNanoseconds(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
