import { performance } from "node:perf_hooks";
import type { Logger } from "#runtime/logger.ts";
import type { HeaderChoice, RecordScope } from "./access-record.ts";
import type { AccessStream } from "./control/access-stream.ts";
import { HttpConnection } from "./http/connection.ts";
import type { HttpLimits } from "./http/limits.ts";
import type { DeniedReply } from "./http/local-reply.ts";
import type { HttpTimeouts } from "./http/session.ts";
import type { IdentityLookup } from "./kernel/identities.ts";
import type { Redirected, Transport } from "./kernel/transport.ts";
import type { ProxyCounters, RefusalReason } from "./metrics.ts";
import { type PolicyTable, rulesOfConnection } from "./policy/policy-table.ts";
import type { AccessMessage } from "./protocol.ts";

export interface ConnectionsDeps {
  readonly log: Logger;
  readonly policy: PolicyTable;
  readonly identities: IdentityLookup;
  readonly transport: Pick<Transport, "connect">;
  readonly records: AccessStream;
  readonly counters: ProxyCounters;
}

export interface ConnectionsConfig {
  readonly maxConnections: number;
  /** Of one client address: nobody can use up the node's proxy alone. */
  readonly maxConnectionsPerClient: number;
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
  readonly denied: DeniedReply;
  /** Headers that access records carry. */
  readonly recorded: HeaderChoice;
  /** How often time-outs are looked at. */
  readonly sweepMs: number;
}

export interface Connections {
  readonly count: number;
  accept(redirected: Redirected): void;
  /** Cuts the connections that the policy does not redirect any more. */
  policyChanged(): void;
  /** Takes no new requests; resolves when the last exchange is over or after `timeoutMs`, when what is left is cut. */
  drain(timeoutMs: number): Promise<void>;
}

/** All connections of the proxy: their number, their time-outs, their common fate. */
export function createConnections(deps: ConnectionsDeps, config: ConnectionsConfig): Connections {
  const open = new Set<HttpConnection>();
  const perClient = new Map<string, number>();
  const count = (ip: string, change: 1 | -1) => {
    const next = (perClient.get(ip) ?? 0) + change;
    if (next === 0) perClient.delete(ip);
    else perClient.set(ip, next);
  };
  let draining: (() => void) | undefined;
  const sweep = setInterval(() => {
    const now = performance.now();
    for (const connection of open) connection.checkDeadline(now);
  }, config.sweepMs).unref();
  const refuse = (redirected: Redirected, reason: RefusalReason) => {
    deps.counters.refused[reason]++;
    redirected.socket.on("error", () => undefined);
    redirected.socket.resetAndDestroy();
  };
  return {
    get count() {
      return open.size;
    },
    accept(redirected) {
      const { direction, client, server, socket } = redirected;
      if (open.size >= config.maxConnections || draining !== undefined) return refuse(redirected, "limit");
      if ((perClient.get(client.ip) ?? 0) >= config.maxConnectionsPerClient) return refuse(redirected, "client-limit");
      const found = rulesOfConnection(deps.policy, direction, client.ip, server.ip, server.port);
      if (found === undefined) return refuse(redirected, "no-policy");
      try {
        deps.identities.identityOf(direction === "ingress" ? client.ip : server.ip);
      } catch (thrown) {
        deps.log.error("cannot read identities, connection refused", { error: (thrown as Error).message });
        return refuse(redirected, "identity");
      }
      deps.counters.accepted++;
      const connection = new HttpConnection(socket, createSession(redirected, deps, config));
      open.add(connection);
      count(client.ip, 1);
      socket.on("close", () => {
        open.delete(connection);
        count(client.ip, -1);
        if (open.size === 0) draining?.();
      });
    },
    policyChanged() {
      for (const connection of open) if (!connection.stillRedirected()) connection.cut();
    },
    async drain(timeoutMs) {
      const done = new Promise<void>((resolve) => {
        draining = resolve;
        setTimeout(resolve, timeoutMs).unref();
      });
      for (const connection of open) connection.stop();
      if (open.size > 0) await done;
      clearInterval(sweep);
      for (const connection of open) connection.cut();
    },
  };
}

function createSession(
  redirected: Redirected,
  deps: ConnectionsDeps,
  config: ConnectionsConfig,
): ConstructorParameters<typeof HttpConnection>[1] {
  const { direction, client, server } = redirected;
  let scope: RecordScope | undefined;
  const find = () => rulesOfConnection(deps.policy, direction, client.ip, server.ip, server.port);
  const identify = (endpointIdentity: number, peer: number) =>
    direction === "ingress" ? { source: peer, destination: endpointIdentity } : { source: endpointIdentity, destination: peer };
  return {
    policy() {
      const found = find();
      const peer = peerIdentity(redirected, deps);
      if (found === undefined || peer === undefined) return null;
      const ids = identify(found.endpoint.identity, peer);
      if (
        scope?.endpointId !== found.endpoint.id ||
        scope.source.identity !== ids.source ||
        scope.destination.identity !== ids.destination
      ) {
        scope = {
          ...{ direction, endpointId: found.endpoint.id, recorded: config.recorded },
          source: { ...client, identity: ids.source },
          destination: { ...server, identity: ids.destination },
        };
      }
      return { rules: found.rules.peer(peer), revision: deps.policy.revision ?? 0 };
    },
    scope() {
      return (
        scope ?? {
          ...{ direction, endpointId: find()?.endpoint.id ?? 0, recorded: config.recorded },
          source: { ...client, identity: 0 },
          destination: { ...server, identity: 0 },
        }
      );
    },
    connect: () => deps.transport.connect({ direction, client, server, identity: scope?.source.identity ?? 0 }),
    record(record: AccessMessage) {
      if (record.kind === "request" || record.verdict === "ERROR") deps.counters.requests[direction][record.verdict]++;
      deps.records.push(record);
    },
    limits: config.limits,
    timeouts: config.timeouts,
    denied: config.denied,
    now: () => performance.now(),
  };
}

/** Undefined when the maps cannot be read: then nothing is allowed. */
function peerIdentity({ direction, client, server }: Redirected, deps: ConnectionsDeps): number | undefined {
  try {
    return deps.identities.identityOf(direction === "ingress" ? client.ip : server.ip);
  } catch (thrown) {
    deps.log.error("cannot read identities, connection cut", { error: (thrown as Error).message });
    return undefined;
  }
}
