import type { Socket } from "node:net";
import type { HeaderChoice, RecordScope } from "./access-record.ts";
import type { RepeatedRecord } from "./control/access-line.ts";
import type { AccessStream } from "./control/access-stream.ts";
import type { Redirected, Transport } from "./kernel/transport.ts";
import type { ProxyCounters } from "./metrics.ts";
import { followPeer, type Peer, type PeerDeps } from "./peer.ts";
import type { PeerRules } from "./policy/peer-rules.ts";
import { type PolicyTable, rulesOfConnection } from "./policy/policy-table.ts";
import type { AccessRecord } from "./protocol.ts";

export interface PolicyInForce {
  readonly peer: PeerRules;
  readonly revision: number;
}

/** What a redirected connection needs to know of the world, whatever it speaks. */
export interface Session {
  /** The policy now in force for this peer, or null when the connection is not the proxy's any more. */
  policy(): PolicyInForce | null;
  scope(): RecordScope;
  /** Opens the connection to where the client wanted to go, as the client. Throws when no socket can be made. */
  connect(): Socket;
  record(record: AccessRecord | RepeatedRecord): void;
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
  /** The last answer, and what it followed from. */
  let last:
    | { readonly generation: number; readonly endpoint: { readonly id: number }; readonly peer: Peer; readonly inForce: PolicyInForce }
    | undefined;
  const identify = (endpointIdentity: number, peer: number) =>
    direction === "ingress" ? { source: peer, destination: endpointIdentity } : { source: endpointIdentity, destination: peer };
  const scopeOf = (endpointId: number, ids: { readonly source: number; readonly destination: number }): RecordScope => ({
    ...{ direction, endpointId, recorded },
    source: { ...client, identity: ids.source },
    destination: { ...server, identity: ids.destination },
  });
  return {
    policy() {
      const { generation } = deps.policy;
      if (last?.generation === generation && last.peer === peerOf(last.endpoint.id)) return last.inForce;
      last = undefined;
      const found = find();
      const peer = found && peerOf(found.endpoint.id);
      if (found === undefined || peer === undefined) return null;
      const { id, identity } = found.endpoint;
      const rules = found.rules.peer(peer);
      const ids = identify(identity, rules.identity);
      const known = scope?.endpointId === id && scope.source.identity === ids.source && scope.destination.identity === ids.destination;
      if (!known) scope = scopeOf(id, ids);
      last = { generation, endpoint: found.endpoint, peer, inForce: { peer: rules, revision: deps.policy.revision ?? 0 } };
      return last.inForce;
    },
    scope: () => scope ?? scopeOf(find()?.endpoint.id ?? 0, { source: 0, destination: 0 }),
    connect: () => deps.transport.connect({ direction, client, server, identity: scope?.source.identity ?? 0 }),
    record(record) {
      const { kind, verdict } = record.type === "repeated" ? record.like : record;
      if (kind === "request" || verdict === "ERROR") deps.counters.requests[direction][verdict]++;
      deps.records.push(record);
    },
    now,
  };
}
