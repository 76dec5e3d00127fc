import type { Bpf } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { chooseHeaders } from "#proxy/access-record.ts";
import type { AccessStream } from "#proxy/control/access-stream.ts";
import { DEFAULT_DNS_PROXY_CONFIG, startDnsProxy } from "#proxy/dns/dns-proxy.ts";
import { createPinnedGrants } from "#proxy/dns/grants.ts";
import { createConntrackSearch } from "#proxy/dns/live-connections.ts";
import { type proxyFlags, readDeniedReply } from "#proxy/flags.ts";
import { DEFAULT_HTTP_TIMEOUTS } from "#proxy/http/session.ts";
import { createPinnedIpcache } from "#proxy/kernel/pinned-ipcache.ts";
import { createTransparentTransport } from "#proxy/kernel/transparent.ts";
import { createLearnedNames } from "#proxy/peer.ts";
import { registerProxyMetrics } from "#proxy/prometheus.ts";
import { DEFAULT_PROXY_CONFIG, type RunningProxy, startProxy } from "#proxy/proxy.ts";
import type { ProxySockets } from "#proxy/sockets.ts";
import type { FlagValues } from "#runtime/flags.ts";
import type { Logger } from "#runtime/logger.ts";
import { createMetrics, serveMetrics } from "#runtime/metrics.ts";
import { monotonicNs } from "#sys/clock.ts";

type Flags = FlagValues<typeof proxyFlags>;

/** A proxy that serves. */
export interface ServingProxy extends AsyncDisposable {
  /** Takes nothing new; what has begun goes on until it is disposed. */
  release(): Promise<void>;
}

/** Prepares all there is to prepare; what it gives lets the proxy serve on these sockets, when it is its turn. */
export async function prepareProxy(flags: Flags, log: Logger, sockets: ProxySockets): Promise<() => Promise<ServingProxy>> {
  const [metricsSocket] = sockets.metrics;
  const metrics = metricsSocket === undefined ? undefined : await prepareMetrics(metricsSocket);
  const bpf = openBpf();
  return () => serveProxy(flags, log, { sockets, bpf, metrics });
}

type ServeMetrics = (proxy: RunningProxy) => Promise<AsyncDisposable>;

async function prepareMetrics(fd: number): Promise<ServeMetrics> {
  const registry = await createMetrics();
  return async (proxy) => {
    await registerProxyMetrics(registry, proxy);
    return await serveMetrics(registry, { fd });
  };
}

interface Prepared {
  readonly sockets: ProxySockets;
  readonly bpf: Bpf;
  readonly metrics: ServeMetrics | undefined;
}

async function serveProxy(flags: Flags, log: Logger, { sockets, bpf, metrics: serveMetrics }: Prepared): Promise<ServingProxy> {
  await using scope = new AsyncDisposableStack();
  const identities = scope.use(createPinnedIpcache(bpf, flags["bpf-root"]));
  const grants = scope.use(createPinnedGrants(bpf, flags["bpf-root"]));
  const now = () => Number(monotonicNs() / 1_000_000_000n);
  const findLive = createConntrackSearch(bpf, flags["bpf-root"], now);
  const startDns = (records: AccessStream) =>
    startDnsProxy(
      { log: log.child("dns"), records, grants, findLive, now, identityOf: identities.identityOf },
      {
        ...DEFAULT_DNS_PROXY_CONFIG,
        ipv6: flags["enable-ipv6"],
        statePath: flags["dns-policy-path"],
        cachePath: flags["dns-cache-path"],
        sockets,
      },
    );
  const transport = createTransparentTransport({
    ports: { ingress: flags["proxy-ingress-port"], egress: flags["proxy-egress-port"] },
    ipv6: flags["enable-ipv6"],
    listeners: sockets,
  });
  const proxy = await startProxy(
    { log, transport, identities, learned: createLearnedNames(grants, now), startDns },
    {
      ...DEFAULT_PROXY_CONFIG,
      socketPath: flags["proxy-socket-path"],
      statePath: flags["proxy-state-path"],
      maxConnections: flags["proxy-max-connections"],
      maxConnectionsPerClient: flags["proxy-max-connections-per-client"],
      drainMs: flags["proxy-drain-timeout"],
      recordCapacity: flags["proxy-access-buffer"],
      denied: readDeniedReply(flags["http-403-msg"], flags["http-403-headers"]),
      recorded: chooseHeaders(flags["http-access-log-headers"]),
      timeouts: {
        ...DEFAULT_HTTP_TIMEOUTS,
        connect: flags["proxy-connect-timeout"] * 1000,
        response: flags["http-request-timeout"] * 1000,
        idle: flags["http-idle-timeout"] * 1000,
      },
    },
  );
  scope.use(proxy);
  const metrics = scope.use(new AsyncDisposableStack());
  if (serveMetrics) metrics.use(await serveMetrics(proxy));
  log.info("listening for redirected connections", { ...proxy.status() });
  const running = scope.move();
  return {
    async release() {
      await metrics.disposeAsync();
      await proxy.release();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
