import { Health } from "#api/gen/grpc/health/v1/health_pb.ts";
import { Observer } from "#api/gen/observer/observer_pb.ts";
import type { Logger } from "#runtime/logger.ts";
import { formatSocketAddress, type SocketAddress } from "../server/address.ts";
import { startGrpcServer } from "../server/grpc.ts";
import { healthService } from "../server/health.ts";
import type { PeerSource } from "../server/peers.ts";
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
  const pool = scope.use(startPeerPool({ peers, log }, { dialTimeoutMs: config.dialTimeoutMs ?? 5000, retryMs: config.retryMs ?? 30_000 }));
  const flows = {
    nodeName: config.nodeName ?? "relay",
    sortBufferDrainMs: config.sortBufferDrainMs ?? 1000,
    sortBufferLength: config.sortBufferLength ?? 100,
    errorWindowMs: config.errorWindowMs ?? 10_000,
  };
  const health = healthService([Observer.typeName], () => pool.nodes().some(({ connected }) => connected));
  const main = await startGrpcServer((router) => {
    router.service(Observer, relayService(pool, version, flows));
    router.service(Health, health);
  }, config.listen);
  scope.use(main);
  const aside = scope.use(await startGrpcServer((router) => void router.service(Health, health), config.healthListen ?? []));
  log.info("hubble relay started", { addresses: main.addresses.map(formatSocketAddress) });
  const running = scope.move();
  return { addresses: main.addresses, healthAddresses: aside.addresses, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
