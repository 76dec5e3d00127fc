import type { ConnectRouter } from "@connectrpc/connect";
import { Health } from "#api/gen/grpc/health/v1/health_pb.ts";
import { Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { Peer as PeerServiceType } from "#api/gen/peer/peer_pb.ts";
import type { Logger } from "#runtime/logger.ts";
import type { History } from "../history/history.ts";
import type { Observer } from "../observer/observer.ts";
import { observerService } from "../observer/service.ts";
import { formatSocketAddress } from "./address.ts";
import { GET_FLOWS, getFlowsMethod } from "./flow-stream.ts";
import { type GrpcServer, startGrpcServer } from "./grpc.ts";
import { healthService, OBSERVER_HEALTH } from "./health.ts";
import { type PeerSource, peerService } from "./peers.ts";
import type { ServerTls } from "./tls.ts";

export interface HubbleServerDeps {
  readonly observer: Observer;
  /** Flows on disk; without it only those in memory are served. */
  readonly history?: History | undefined;
  readonly peers: PeerSource;
  readonly log: Logger;
}

export interface HubbleServerConfig {
  /** `:4244`, `unix:///var/run/cilium/hubble.sock`. */
  readonly listen: readonly string[];
  /** TLS on TCP addresses; clear text without. */
  readonly tls?: ServerTls | undefined;
}

/** Serves a node's observer, its peers and its health. Rejects when an address is taken. */
export async function startHubbleServer(deps: HubbleServerDeps, config: HubbleServerConfig): Promise<GrpcServer> {
  const routes = (router: ConnectRouter) => {
    router.service(ObserverService, observerService(deps.observer, deps.history));
    router.service(PeerServiceType, peerService(deps.peers));
    router.service(Health, healthService([OBSERVER_HEALTH, ObserverService.typeName, PeerServiceType.typeName]));
  };
  const tls = config.tls && { files: config.tls, log: deps.log };
  const streams = { [GET_FLOWS]: getFlowsMethod(deps.observer, deps.history) };
  const server = await startGrpcServer(routes, config.listen, { tls, streams });
  deps.log.info("hubble server started", { addresses: server.addresses.map(formatSocketAddress) });
  return server;
}
