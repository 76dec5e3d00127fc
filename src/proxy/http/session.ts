import type { Socket } from "node:net";
import type { RecordScope } from "../access-record.ts";
import type { HttpRecord } from "../control/access-line.ts";
import type { PeerPolicy } from "../policy/decide.ts";
import type { HttpProtocol } from "../tls/agreement.ts";
import type { HttpLimits } from "./limits.ts";
import type { DeniedReply } from "./local-reply.ts";

/** Milliseconds that each phase of a connection may last. */
export interface HttpTimeouts {
  /** From accept to the first byte, and between requests. */
  readonly idle: number;
  /** From the first byte of a head to its end. */
  readonly head: number;
  /** Without a byte of a body or of a tunnel moving. */
  readonly stall: number;
  /** From the end of a request to the head of its response. */
  readonly response: number;
  readonly connect: number;
  /** How long a closing connection may take the last answer. */
  readonly linger: number;
  /** How long a proxy that stops waits for the last request of a connection: it may be on its way. */
  readonly last: number;
}

/** Upstream's values: `--proxy-connect-timeout` 2 s, `--http-request-timeout` 3600 s. */
export const DEFAULT_HTTP_TIMEOUTS: HttpTimeouts = {
  idle: 3_600_000,
  head: 15_000,
  stall: 300_000,
  response: 3_600_000,
  connect: 2_000,
  linger: 1_000,
  last: 1_000,
};

/** What a connection needs to know of the world. */
export interface HttpSession {
  /** The policy now in force for this peer, or null when the connection is not the proxy's any more. */
  policy(): {
    readonly rules: PeerPolicy;
    /** What `rules` would be without audit mode; null when that is nothing else. */
    readonly audited: PeerPolicy | null;
    readonly revision: number;
  } | null;
  scope(): RecordScope;
  /** Opens the connection to where the client wanted to go, as the client; `host` is whom the request names. Throws when no socket can be made. */
  connect(host: string, protocol: HttpProtocol): Socket;
  record(record: HttpRecord): void;
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
  readonly denied: DeniedReply;
  /** Now, in milliseconds, monotonic: for deadlines. */
  now(): number;
}
