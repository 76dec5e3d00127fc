import type { ConnectRouter } from "@connectrpc/connect";
import { Health } from "#api/gen/grpc/health/v1/health_pb.ts";
import { Observer } from "#api/gen/observer/observer_pb.ts";
import type { Logger } from "#runtime/logger.ts";
import type { TlsOptions } from "../client/transport.ts";
import { formatSocketAddress, type SocketAddress } from "../server/address.ts";
import { startGrpcServer } from "../server/grpc.ts";
import { healthService, OBSERVER_HEALTH } from "../server/health.ts";
import type { PeerSource } from "../server/peers.ts";
import type { ServerTls } from "../server/tls.ts";
import { startPeerPool } from "./pool.ts";
import { relayService } from "./service.ts";

export interface RelayDeps {
  readonly peers: PeerSource;
  readonly log: Logger;
  readonly version: string;
}

export interface RelayConfig {
  /** `:4245`. */
  readonly listen: readonly string[];
  /** `:4222`; none when empty. */
  readonly healthListen?: readonly string[];
  /** TLS towards agents; clear text without. */
  readonly clientTls?: TlsOptions | undefined;
  /** TLS towards clients; clear text without. */
  readonly serverTls?: ServerTls | undefined;
  readonly nodeName?: string;
  readonly dialTimeoutMs?: number;
  readonly retryMs?: number;
  readonly sortBufferDrainMs?: number;
  readonly sortBufferLength?: number;
  readonly errorWindowMs?: number;
}

export interface Relay extends AsyncDisposable {
  readonly addresses: readonly SocketAddress[];
  readonly healthAddresses: readonly SocketAddress[];
}

/** Starts a relay. It serves at once; its health is good when it is connected to at least one agent. */
export async function startRelay(deps: RelayDeps, config: RelayConfig): Promise<Relay> {
  await using scope = new AsyncDisposableStack();
  const { log, peers, version } = deps;
  const { dialTimeoutMs = 5000, retryMs = 30_000, clientTls } = config;
  const pool = scope.use(startPeerPool({ peers, log }, { dialTimeoutMs, retryMs, tls: clientTls }));
  const flows = {
    nodeName: config.nodeName ?? "relay",
    sortBufferDrainMs: config.sortBufferDrainMs ?? 1000,
    sortBufferLength: config.sortBufferLength ?? 100,
    errorWindowMs: config.errorWindowMs ?? 10_000,
  };
  const health = healthService([OBSERVER_HEALTH, Observer.typeName], () => pool.nodes().some(({ connected }) => connected));
  const routes = (router: ConnectRouter) => {
    router.service(Observer, relayService(pool, version, flows));
    router.service(Health, health);
  };
  const main = await startGrpcServer(routes, config.listen, { tls: config.serverTls && { files: config.serverTls, log } });
  scope.use(main);
  const aside = scope.use(await startGrpcServer((router) => void router.service(Health, health), config.healthListen ?? []));
  log.info("hubble relay started", { addresses: main.addresses.map(formatSocketAddress) });
  const running = scope.move();
  return { addresses: main.addresses, healthAddresses: aside.addresses, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
