import type { Socket } from "node:net";
import type { HeaderChoice, RecordScope } from "./access-record.ts";
import type { AccessStream } from "./control/access-stream.ts";
import type { Redirected, Transport } from "./kernel/transport.ts";
import type { ProxyCounters } from "./metrics.ts";
import { followPeer, type PeerDeps } from "./peer.ts";
import type { PeerRules } from "./policy/peer-rules.ts";
import { type PolicyTable, rulesOfConnection } from "./policy/policy-table.ts";
import type { AccessRecord } from "./protocol.ts";

/** What a redirected connection needs to know of the world, whatever it speaks. */
export interface Session {
  /** The policy now in force for this peer, or null when the connection is not the proxy's any more. */
  policy(): { readonly peer: PeerRules; readonly revision: number } | null;
  scope(): RecordScope;
  /** Opens the connection to where the client wanted to go, as the client. Throws when no socket can be made. */
  connect(): Socket;
  record(record: AccessRecord): void;
  /** Now, in milliseconds, monotonic: for deadlines, not for measuring. */
  now(): number;
}

export interface SessionDeps extends PeerDeps {
  readonly policy: PolicyTable;
  readonly transport: Pick<Transport, "connect">;
  readonly records: AccessStream;
  readonly counters: ProxyCounters;
}

export interface SessionConfig {
  /** Headers that access records carry. */
  readonly recorded: HeaderChoice;
  /** Milliseconds, monotonic: for deadlines. */
  now(): number;
}

export function createSession(redirected: Redirected, deps: SessionDeps, { recorded, now }: SessionConfig): Session {
  const { direction, client, server } = redirected;
  let scope: RecordScope | undefined;
  const peerOf = followPeer(redirected, deps);
  const find = () => rulesOfConnection(deps.policy, direction, client.ip, server.ip, server.port);
  const identify = (endpointIdentity: number, peer: number) =>
    direction === "ingress" ? { source: peer, destination: endpointIdentity } : { source: endpointIdentity, destination: peer };
  const scopeOf = (endpointId: number, ids: { readonly source: number; readonly destination: number }): RecordScope => ({
    ...{ direction, endpointId, recorded },
    source: { ...client, identity: ids.source },
    destination: { ...server, identity: ids.destination },
  });
  return {
    policy() {
      const found = find();
      const peer = found && peerOf(found.endpoint.id);
      if (found === undefined || peer === undefined) return null;
      const { id, identity } = found.endpoint;
      const rules = found.rules.peer(peer);
      const ids = identify(identity, rules.identity);
      const known = scope?.endpointId === id && scope.source.identity === ids.source && scope.destination.identity === ids.destination;
      if (!known) scope = scopeOf(id, ids);
      return { peer: rules, revision: deps.policy.revision ?? 0 };
    },
    scope: () => scope ?? scopeOf(find()?.endpoint.id ?? 0, { source: 0, destination: 0 }),
    connect: () => deps.transport.connect({ direction, client, server, identity: scope?.source.identity ?? 0 }),
    record(record) {
      if (record.kind === "request" || record.verdict === "ERROR") deps.counters.requests[direction][record.verdict]++;
      deps.records.push(record);
    },
    now,
  };
}
