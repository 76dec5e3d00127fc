import type { Transport } from "@connectrpc/connect";
import { createBackoff, sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { type GrpcConnection, openConnection, type TlsOptions } from "../client/transport.ts";
import type { Peer, PeerSource } from "../server/peers.ts";

/** A node as the relay sees it. */
export interface PoolNode {
  readonly peer: Peer;
  readonly connected: boolean;
  /** Whether we speak TLS with it. */
  readonly secure: boolean;
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
  connected: boolean;
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
    const member: Member = { peer, connection, stop: new AbortController(), connected: false };
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
      [...members.values()].map(({ peer, connected, connection: { transport } }) => ({
        peer,
        connected,
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
    const connected = await member.connection.connect();
    if (signal.aborted) return;
    if (connected !== member.connected) {
      member.connected = connected;
      log.info(connected ? "connected to peer" : "peer is unavailable", { peer: member.peer.name, address: member.peer.address });
      changed();
    }
    if (connected) backoff.reset();
    await sleep(connected ? CHECK_MS : backoff.next(), signal);
  }
}
