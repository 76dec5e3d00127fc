import { createClient, type Transport } from "@connectrpc/connect";
import { Health } from "#api/gen/grpc/health/v1/health_pb.ts";
import { createBackoff, sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { certificateProblem, ownCertificateProblem } from "../client/certificate-problem.ts";
import { type GrpcConnection, openConnection, type TlsOptions } from "../client/transport.ts";
import type { Peer, PeerSource } from "../server/peers.ts";

/** A node as the relay sees it. */
export interface PoolNode {
  readonly peer: Peer;
  readonly connected: boolean;
  /** Whether we speak TLS with it. */
  readonly secure: boolean;
  /** Why it is not connected, when certificates are the reason. */
  readonly reason: string | undefined;
  readonly transport: Transport;
}

export interface PeerPool extends AsyncDisposable {
  nodes(): readonly PoolNode[];
  /** Calls back when a node comes, goes, connects or is lost. */
  onChange(callback: () => void): Disposable;
}

export interface PoolConfig {
  readonly dialTimeoutMs: number;
  /** Longest time between two attempts to connect. */
  readonly retryMs: number;
  /** How to speak TLS with agents; clear text without. Their names come with the peers. */
  readonly tls?: TlsOptions | undefined;
}

const CHECK_MS = 2000;

interface Member {
  readonly peer: Peer;
  readonly connection: GrpcConnection;
  readonly stop: AbortController;
  readonly tls: TlsOptions | undefined;
  connected: boolean;
  reason: string | undefined;
}

/** Keeps a connection to every peer of the source, for ever. */
export function startPeerPool(deps: { readonly peers: PeerSource; readonly log: Logger }, config: PoolConfig): PeerPool {
  const members = new Map<string, Member>();
  const listeners = new Set<() => void>();
  const stop = new AbortController();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const remove = (name: string) => {
    const member = members.get(name);
    members.delete(name);
    member?.stop.abort();
    member?.connection[Symbol.dispose]();
  };
  const add = (peer: Peer) => {
    const tls = config.tls && { ...config.tls, ...(peer.tlsServerName ? { serverName: peer.tlsServerName } : {}) };
    const connection = openConnection({
      server: peer.address,
      dialTimeoutMs: config.dialTimeoutMs,
      keepAlive: true,
      ...(tls ? { tls } : {}),
    });
    const member: Member = { peer, connection, stop: new AbortController(), tls, connected: false, reason: undefined };
    members.set(peer.name, member);
    keepConnected(member, deps.log, config, changed).catch((thrown: unknown) =>
      deps.log.error("peer lost", { peer: peer.name, error: errorMessage(thrown) }),
    );
  };
  const follow = async () => {
    for await (const { type, peer } of deps.peers.watch(stop.signal)) {
      deps.log.info("peer changed", { peer: peer.name, address: peer.address, change: type });
      remove(peer.name);
      if (type !== "deleted") add(peer);
      changed();
    }
  };
  const following = follow().catch((thrown: unknown) => deps.log.error("peer source failed", { error: errorMessage(thrown) }));
  return {
    nodes: () =>
      [...members.values()].map(({ peer, connected, reason, connection: { transport } }) => ({
        peer,
        connected,
        reason,
        secure: config.tls !== undefined,
        transport,
      })),
    onChange(callback) {
      listeners.add(callback);
      return { [Symbol.dispose]: () => void listeners.delete(callback) };
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      for (const name of [...members.keys()]) remove(name);
      await following;
    },
  };
}

/** Connects, looks every two seconds whether the connection stands, and tries again with longer and longer pauses. */
async function keepConnected(member: Member, log: Logger, config: PoolConfig, changed: () => void): Promise<void> {
  const { signal } = member.stop;
  const backoff = createBackoff({ initial: 200, max: config.retryMs });
  while (!signal.aborted) {
    const connected = (await member.connection.connect()) && (await believesUs(member));
    const reason = connected || !member.tls ? undefined : await certificateProblem(member.peer.address, member.tls);
    if (signal.aborted) return;
    if (connected !== member.connected || reason !== member.reason) {
      Object.assign(member, { connected, reason });
      tell(member, log);
      changed();
    }
    if (connected) backoff.reset();
    await sleep(connected ? CHECK_MS : backoff.next(), signal);
  }
}

/** Whether a peer answers us. With TLS 1.3 a client that is refused for its certificate learns that only when it asks something. */
async function believesUs({ tls, connection }: Member): Promise<boolean> {
  if (tls === undefined || ownCertificateProblem(tls) === undefined) return true;
  try {
    await createClient(Health, connection.transport).check({}, { timeoutMs: CHECK_MS });
    return true;
  } catch {
    // The reason is said by whoever asks for it.
    return false;
  }
}

function tell({ peer: { name, address }, connected, reason }: Member, log: Logger): void {
  if (reason !== undefined) log.warn("peer is unavailable for a certificate's sake", { peer: name, address, reason });
  else log.info(connected ? "connected to peer" : "peer is unavailable", { peer: name, address });
}
