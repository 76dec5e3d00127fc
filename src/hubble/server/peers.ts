import type { ServiceImpl } from "@connectrpc/connect";
import { type ChangeNotification, ChangeNotificationType, type Peer as PeerService } from "#api/gen/peer/peer_pb.ts";

/** An agent that serves Hubble. */
export interface Peer {
  /** `node`, or `cluster/node`. */
  readonly name: string;
  /** `ip:4244`. */
  readonly address: string;
  /** Name in its certificate, when it has one. */
  readonly tlsServerName?: string;
}

/** The name of a node's agent in its certificate, as upstream's: `node.cluster.hubble-grpc.cilium.io`, one label a node. */
export function hubbleServerName(node: string, clusterName: string): string {
  return `${node.replaceAll(".", "-")}.${clusterName}.hubble-grpc.cilium.io`;
}

/** A change of the list of peers. */
export interface PeerChange {
  readonly type: "added" | "deleted" | "updated";
  readonly peer: Peer;
}

/** Where peers come from: the agents' own table, or a Peer service that is asked. */
export interface PeerSource {
  /** All peers as `added`, then every change, until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<PeerChange>;
}

/** The known agents, this one included. */
export interface PeerTable extends PeerSource {
  /** Replaces the whole list; watchers get the difference. */
  set(peers: readonly Peer[]): void;
  list(): readonly Peer[];
}

/** An empty table. */
export function createPeerTable(): PeerTable {
  let peers = new Map<string, Peer>();
  const watchers = new Set<(change: PeerChange) => void>();
  const tell = (type: PeerChange["type"], peer: Peer) => {
    for (const watcher of watchers) watcher({ type, peer });
  };
  return {
    set(list) {
      const next = new Map(list.map((peer) => [peer.name, peer]));
      for (const [name, peer] of peers) if (!next.has(name)) tell("deleted", peer);
      for (const [name, peer] of next) {
        const before = peers.get(name);
        if (before === undefined) tell("added", peer);
        else if (before.address !== peer.address || before.tlsServerName !== peer.tlsServerName) tell("updated", peer);
      }
      peers = next;
    },
    list: () => [...peers.values()],
    watch: (signal) => watchPeers(() => peers.values(), watchers, signal),
  };
}

async function* watchPeers(
  present: () => Iterable<Peer>,
  watchers: Set<(change: PeerChange) => void>,
  signal: AbortSignal,
): AsyncGenerator<PeerChange, void> {
  const queue: PeerChange[] = [...present()].map((peer) => ({ type: "added", peer }));
  let wake: () => void = () => undefined;
  const watcher = (change: PeerChange) => {
    queue.push(change);
    wake();
  };
  const stop = () => wake();
  watchers.add(watcher);
  signal.addEventListener("abort", stop, { once: true });
  try {
    while (!signal.aborted) {
      const change = queue.shift();
      if (change !== undefined) yield change;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    watchers.delete(watcher);
    signal.removeEventListener("abort", stop);
  }
}

const TYPES = {
  added: ChangeNotificationType.PEER_ADDED,
  deleted: ChangeNotificationType.PEER_DELETED,
  updated: ChangeNotificationType.PEER_UPDATED,
} as const;

/** The gRPC service that tells of changes. */
export function peerService(source: PeerSource): ServiceImpl<typeof PeerService> {
  return {
    async *notify(_, context) {
      for await (const { type, peer } of source.watch(context.signal)) yield changeMessage(type, peer);
    },
  };
}

function changeMessage(type: PeerChange["type"], { name, address, tlsServerName }: Peer): ChangeNotification {
  const tls = tlsServerName === undefined ? undefined : ({ $typeName: "peer.TLS", serverName: tlsServerName } as const);
  return { $typeName: "peer.ChangeNotification", name, address, type: TYPES[type], tls };
}
