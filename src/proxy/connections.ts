import { performance } from "node:perf_hooks";
import { type ConnectionConfig, openConnection, type ProxiedConnection } from "./connection.ts";
import type { Redirected } from "./kernel/transport.ts";
import type { RefusalReason } from "./metrics.ts";
import { rulesOfConnection } from "./policy/policy-table.ts";
import { createSession, type SessionDeps } from "./session.ts";

export interface ConnectionsConfig extends ConnectionConfig {
  readonly maxConnections: number;
  /** Of one client address: nobody can use up the node's proxy alone. */
  readonly maxConnectionsPerClient: number;
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
export function createConnections(deps: SessionDeps, config: ConnectionsConfig): Connections {
  const open = new Set<ProxiedConnection>();
  const perClient = new Map<string, number>();
  const count = (ip: string, change: 1 | -1) => {
    const next = (perClient.get(ip) ?? 0) + change;
    if (next === 0) perClient.delete(ip);
    else perClient.set(ip, next);
  };
  let draining: (() => void) | undefined;
  // Deadlines are as exact as the sweep that looks at them; asking the clock for each would be a good part of what a request costs.
  let now = performance.now();
  const sweep = setInterval(() => {
    now = performance.now();
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
      const session = createSession(redirected, deps, { recorded: config.recorded, now: () => now });
      if (session.policy() === null) return refuse(redirected, "identity");
      deps.counters.accepted++;
      const connection = openConnection(socket, session, config);
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
