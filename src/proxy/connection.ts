import type { Socket } from "node:net";
import type { HeaderChoice, RecordScope } from "./access-record.ts";
import { AuditedConnection, type AuditedOptions } from "./audit/connection.ts";
import { HttpWitness } from "./audit/http-witness.ts";
import { KafkaWitness } from "./audit/kafka-witness.ts";
import { TlsWitness } from "./audit/tls-witness.ts";
import { unreadable } from "./audit/witness.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { HttpConnection } from "./http/connection.ts";
import type { HttpLimits } from "./http/limits.ts";
import type { DeniedReply } from "./http/local-reply.ts";
import type { HttpSession, HttpTimeouts } from "./http/session.ts";
import { KafkaConnection } from "./kafka/connection.ts";
import type { PeerPolicy } from "./policy/decide.ts";
import type { PeerRules } from "./policy/peer-rules.ts";
import type { Session } from "./session.ts";
import { HANDSHAKE } from "./tls/client-hello.ts";
import { type InsideTls, TlsConnection } from "./tls/connection.ts";
import { originate } from "./tls/originate.ts";

/** A redirected connection, whatever it speaks. */
export interface ProxiedConnection {
  /** Resets both sides: its policy is gone. */
  cut(): void;
  /** Closes now when idle, else when what is under way is over. */
  stop(): void;
  /** False: the policy does not allow this connection any more, and it should be cut. */
  stillRedirected(): boolean;
  /** Ends the connection when it has been in its state for too long. */
  checkDeadline(now: number): void;
}

export interface ConnectionConfig {
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
  readonly denied: DeniedReply;
  /** Headers that access records carry. */
  readonly recorded: HeaderChoice;
  /** For requests that must be held whole; shared by all connections. */
  readonly held: ByteBudget;
}

/** Begins to read the connection as what the rules of its port are about. */
export function openConnection(client: Socket, session: Session, config: ConnectionConfig): ProxiedConnection {
  const peer = session.policy()?.peer;
  const protocols = peer?.protocols;
  const http = (socket: Socket, pick: (peer: PeerRules) => PeerPolicy | null, inside?: InsideTls) =>
    new HttpConnection(socket, httpSession(session, config, pick, inside));
  if (peer?.onlyAudited === true)
    return new AuditedConnection(
      client,
      session,
      auditedOptions(peer, session, config, () => http(client, (one) => one.http)),
    );
  if (protocols?.has("kafka") === true) return new KafkaConnection(client, session, config);
  if (protocols?.has("tls") !== true) return http(client, (peer) => peer.http);
  const plain = protocols.has("http") ? () => http(client, (peer) => peer.http) : undefined;
  return new TlsConnection(client, session, { timeouts: config.timeouts, plain, http });
}

/** A connection that no rule in force is about: it is read along as what the rules in audit mode are about. */
function auditedOptions(
  { protocols }: PeerRules,
  session: Session,
  config: ConnectionConfig,
  http2: () => ProxiedConnection,
): AuditedOptions {
  const denial = () => unreadable(session.policy()?.peer.audited);
  const http = () =>
    new HttpWitness(
      httpSession(session, config, (peer) => peer.http, undefined),
      denial,
    );
  const witness = (first: Buffer) => {
    if (protocols.has("kafka")) return new KafkaWitness(session, config.held);
    const isTls = protocols.has("tls") && (!protocols.has("http") || first[0] === HANDSHAKE);
    return isTls ? new TlsWitness(session) : http();
  };
  return { witness, http2: protocols.has("http") ? http2 : undefined, last: config.timeouts.last };
}

function httpSession(
  session: Session,
  { limits, timeouts, denied }: ConnectionConfig,
  pick: (peer: PeerRules) => PeerPolicy | null,
  inside: InsideTls | undefined,
): HttpSession {
  const policy = () => {
    const found = session.policy();
    const rules = found === null ? null : pick(found.peer);
    if (found === null || rules === null) return null;
    const { audited } = found.peer;
    return { rules, audited: audited === undefined ? null : pick(audited), revision: found.revision };
  };
  return {
    policy,
    scope: inside === undefined ? session.scope : securedScope(session.scope),
    connect: (host, protocol) => {
      const tls = policy()?.rules.originating;
      if (tls === undefined) return session.connect();
      const asked = inside?.takeServer();
      if (asked?.destroyed === false && (asked.alpnProtocol === "h2") === (protocol === "h2")) return asked;
      asked?.destroy();
      return originate(() => session.connect(), tls, inside?.serverName ?? host, [protocol]);
    },
    record: session.record,
    now: session.now,
    ...{ limits, timeouts, denied },
  };
}

/** As the session's; the same object as long as that is. */
function securedScope(scope: () => RecordScope): () => RecordScope {
  let last: { readonly of: RecordScope; readonly secured: RecordScope } | undefined;
  return () => {
    const of = scope();
    if (last?.of !== of) last = { of, secured: { ...of, secured: true } };
    return last.secured;
  };
}
