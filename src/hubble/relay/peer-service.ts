import { createClient } from "@connectrpc/connect";
import { type ChangeNotification, ChangeNotificationType, Peer as PeerService } from "#api/gen/peer/peer_pb.ts";
import { createBackoff, sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { openConnection } from "../client/transport.ts";
import { createPeerTable, type Peer, type PeerSource } from "../server/peers.ts";

const SETTLE_MS = 2000;

/**
 * Peers as an agent's Peer service tells them. Asks again, with growing pauses, when the connection breaks; peers that the new
 * answer does not name within two seconds are gone.
 */
export function peerServiceSource(deps: { readonly log: Logger }, address: string): PeerSource {
  return {
    async *watch(signal) {
      const table = createPeerTable();
      const asking = askForEver(deps.log, address, table, signal);
      yield* table.watch(signal);
      await asking;
    },
  };
}

type Table = ReturnType<typeof createPeerTable>;

async function askForEver(log: Logger, address: string, table: Table, signal: AbortSignal): Promise<void> {
  const backoff = createBackoff({ initial: 200, max: 10_000 });
  while (!signal.aborted) {
    try {
      await askOnce(address, table, signal, () => backoff.reset());
    } catch (thrown) {
      if (signal.aborted) return;
      log.warn("peer service does not answer, trying again", { address, error: errorMessage(thrown) });
    }
    await sleep(backoff.next(), signal);
  }
}

async function askOnce(address: string, table: Table, signal: AbortSignal, answered: () => void): Promise<void> {
  using connection = openConnection({ server: address, dialTimeoutMs: 5000, keepAlive: true });
  const known = new Map<string, Peer>();
  const before = new Map(table.list().map((peer) => [peer.name, peer]));
  let settled = before.size === 0;
  const publish = () => table.set([...new Map([...(settled ? [] : before), ...known]).values()]);
  const settle = setTimeout(() => {
    settled = true;
    publish();
  }, SETTLE_MS);
  try {
    for await (const change of createClient(PeerService, connection.transport).notify({}, { signal })) {
      answered();
      if (change.type === ChangeNotificationType.PEER_DELETED) {
        known.delete(change.name);
        before.delete(change.name);
      } else known.set(change.name, peerOf(change));
      publish();
    }
  } finally {
    clearTimeout(settle);
  }
}

function peerOf({ name, address, tls }: ChangeNotification): Peer {
  return tls === undefined || tls.serverName === "" ? { name, address } : { name, address, tlsServerName: tls.serverName };
}
