import { addr16 } from "#datapath/addr16.ts";
import type { DatapathMaps } from "#datapath/loader.ts";
import { dropStaleConnections } from "#datapath/service-connections.ts";
import type { Endpoint } from "#endpoint/endpoint.ts";
import type { BackendRow } from "#loadbalancer/tables.ts";
import type { L4Address } from "#loadbalancer/types.ts";
import { openSocketDiag, type SocketDiag } from "#netlink/sock-diag.ts";
import type { Target } from "#reconciler/reconciler.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Table } from "#statedb/table.ts";
import { openNetns } from "#sys/netns.ts";
import { addressToBytes, IpAddress } from "#types/addr.ts";

/**
 * Ends what still talks to a backend that is gone. TCP learns it by itself; a UDP socket would send into the void for ever, and
 * the next pod with the address would get another's datagrams.
 */
export interface StaleConnections extends Target<BackendRow> {
  /** Sockets ended since the start. */
  readonly ended: number;
}

export interface StaleConnectionsDeps {
  readonly log: Logger;
  readonly maps: Pick<DatapathMaps, "reverseSockets" | "lbConntrack" | "backends">;
  readonly endpoints: Table<Endpoint>;
  /** Sockets of the own namespace without a path. */
  readonly open?: (netns?: string) => SocketDiag;
}

export function createStaleConnections({ log, maps, endpoints, open = openDiag }: StaleConnectionsDeps): StaleConnections {
  let ended = 0;
  const endIn = (netns: string | undefined, gone: L4Address) => {
    try {
      using diag = open(netns);
      for (const socket of diag.connectedUdp()) {
        if (socket.remote !== gone.ip || socket.remotePort !== gone.port) continue;
        // Only sockets that a service sent there: who chose the pod's own address is left alone.
        const key = { sockCookie: socket.cookie, address: addr16(addressToBytes(IpAddress(gone.ip))), port: gone.port };
        if (maps.reverseSockets.has(key) && diag.destroy(socket)) ended += 1;
      }
    } catch (thrown) {
      // A namespace that has gone meanwhile took its sockets along.
      log.debug("stale sockets not looked for", { netns: netns ?? "the node's", error: errorMessage(thrown) });
    }
  };
  return {
    get ended() {
      return ended;
    },
    update() {},
    async remove({ address }) {
      if (address.protocol !== "UDP") return;
      const before = ended;
      for (const netns of [undefined, ...[...endpoints.list()].map((row) => row.interface.netns)]) endIn(netns, address);
      await dropStaleConnections(maps.lbConntrack, (id) => maps.backends.has(id));
      if (ended > before) log.info("ended UDP sockets of a backend that is gone", { backend: address, sockets: ended - before });
    },
  };
}

function openDiag(path: string | undefined): SocketDiag {
  if (path === undefined) return openSocketDiag();
  using netns = openNetns(path);
  return openSocketDiag(netns);
}
