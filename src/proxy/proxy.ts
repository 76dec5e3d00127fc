import { performance } from "node:perf_hooks";
import type { Logger } from "#runtime/logger.ts";
import { chooseHeaders, type HeaderChoice, RECORDED_HEADERS } from "./access-record.ts";
import { ByteBudget } from "./byte-budget.ts";
import { type Connections, createConnections } from "./connections.ts";
import { type AccessStream, createAccessStream } from "./control/access-stream.ts";
import { startPolicyServer } from "./control/policy-server.ts";
import { loadSnapshot, saveSnapshot } from "./control/snapshot-file.ts";
import type { DnsProxy } from "./dns/dns-proxy.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "./http/limits.ts";
import { DENIED, type DeniedReply } from "./http/local-reply.ts";
import { DEFAULT_HTTP_TIMEOUTS, type HttpTimeouts } from "./http/session.ts";
import { cacheIdentities, type IdentityLookup } from "./kernel/identities.ts";
import type { Transport } from "./kernel/transport.ts";
import { createCounters, type ProxyCounters } from "./metrics.ts";
import type { LearnedNames } from "./peer.ts";
import { createPolicyTable, type PolicyTable } from "./policy/policy-table.ts";
import type { PolicyMessage, StatusMessage } from "./protocol.ts";

export interface ProxyDeps {
  readonly log: Logger;
  readonly transport: Transport;
  readonly identities: IdentityLookup;
  /** Absent where nobody may reach anything by name. */
  readonly learned?: LearnedNames | undefined;
  /** Starts the DNS proxy beside, which shares agent and records. */
  readonly startDns?: (records: AccessStream) => Promise<DnsProxy>;
}

export interface ProxyConfig {
  readonly socketPath: string;
  readonly statePath: string;
  readonly maxConnections: number;
  readonly maxConnectionsPerClient: number;
  /** Access records kept while nobody takes them. */
  readonly recordCapacity: number;
  /** How long an address keeps its identity before the maps are asked again. */
  readonly identityTtlMs: number;
  readonly drainMs: number;
  readonly sweepMs: number;
  readonly limits: HttpLimits;
  readonly timeouts: HttpTimeouts;
  readonly denied: DeniedReply;
  /** Headers that access records carry. */
  readonly recorded: HeaderChoice;
  /** For requests that must be held whole (Kafka's); shared by all connections. */
  readonly held: ByteBudget;
}

const HELD_BYTES = 128 * 1024 * 1024;

export const DEFAULT_PROXY_CONFIG: Omit<ProxyConfig, "socketPath" | "statePath"> = {
  maxConnections: 9000,
  maxConnectionsPerClient: 4500,
  recordCapacity: 16_384,
  identityTtlMs: 1000,
  drainMs: 8000,
  sweepMs: 250,
  limits: DEFAULT_HTTP_LIMITS,
  timeouts: DEFAULT_HTTP_TIMEOUTS,
  denied: DENIED,
  recorded: chooseHeaders(RECORDED_HEADERS),
  held: new ByteBudget(HELD_BYTES),
};

export interface RunningProxy extends AsyncDisposable {
  status(): StatusMessage;
  readonly counters: ProxyCounters;
  readonly records: AccessStream;
  readonly dns: DnsProxy | undefined;
  /** Takes nothing new and lets go of the agent, so that another proxy may; what has begun goes on until it is disposed. */
  release(): Promise<void>;
}

/** How long records gather before they are sent together. */
const RECORD_DELAY_MS = 5;

/**
 * Restores the last policy, then listens for the agent and for connections. Disposing takes no new connections, lets exchanges finish within
 * `drainMs` and sends the last records.
 */
export async function startProxy(deps: ProxyDeps, config: ProxyConfig): Promise<RunningProxy> {
  const { log, transport, learned } = deps;
  const policy = createPolicyTable();
  const counters = createCounters();
  const records = createAccessStream(config.recordCapacity, (flush) => void setTimeout(flush, RECORD_DELAY_MS));
  const identities = cacheIdentities(deps.identities, config.identityTtlMs, () => performance.now());
  const connections = createConnections({ log, policy, identities, learned, transport, records, counters }, config);
  let restored = restore(policy, config.statePath, log);
  const status = () => statusOf(policy, connections, restored);
  const apply = (next: PolicyMessage) => {
    refreshIdentities(identities, log);
    policy.replace(next);
    restored = false;
    connections.policyChanged();
    log.info("policy in force", { revision: next.revision, endpoints: policy.endpoints, redirects: policy.redirects });
    saveSnapshot(config.statePath, next);
  };
  await using started = new AsyncDisposableStack();
  const control = started.use(new AsyncDisposableStack());
  const dns = await deps.startDns?.(records);
  if (dns) control.use(dns);
  control.use(await startPolicyServer({ log, records, apply, status, handlers: dns?.handlers ?? {} }, config.socketPath));
  const listeners = await transport.listen(connections.accept, (reason) => void counters.refused[reason]++);
  // Disposed first: the agent still gets the last records.
  const close = () => {
    for (const listener of listeners) if (listener.listening) listener.close();
  };
  started.defer(async () => {
    close();
    await connections.drain(config.drainMs);
  });
  const running = started.move();
  const release = () => {
    close();
    return control.disposeAsync();
  };
  return { status, counters, records, dns, release, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function refreshIdentities(identities: IdentityLookup, log: Logger): void {
  try {
    identities.refresh();
  } catch (thrown) {
    log.error("cannot open the maps of identities", { error: (thrown as Error).message });
  }
}

function restore(policy: PolicyTable, path: string, log: Logger): boolean {
  const saved = loadSnapshot(path, (problem) =>
    log.error("saved policy cannot be used, everything is denied until the agent sends one", { path, problem }),
  );
  if (saved === undefined) return false;
  policy.replace(saved);
  log.info("policy restored", { revision: saved.revision, endpoints: policy.endpoints, redirects: policy.redirects });
  return true;
}

function statusOf(policy: PolicyTable, connections: Connections, restored: boolean): StatusMessage {
  const { revision, endpoints, redirects } = policy;
  return { type: "status", revision, restored, endpoints, redirects, connections: connections.count };
}
