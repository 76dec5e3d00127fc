import { openBpf } from "#ebpf/kernel.ts";
import { chooseHeaders } from "#proxy/access-record.ts";
import type { AccessStream } from "#proxy/control/access-stream.ts";
import { DEFAULT_DNS_PROXY_CONFIG, startDnsProxy } from "#proxy/dns/dns-proxy.ts";
import { createPinnedGrants } from "#proxy/dns/grants.ts";
import { createConntrackSearch } from "#proxy/dns/live-connections.ts";
import { proxyFlags, readDeniedReply } from "#proxy/flags.ts";
import { DEFAULT_HTTP_TIMEOUTS } from "#proxy/http/session.ts";
import { createPinnedIpcache } from "#proxy/kernel/pinned-ipcache.ts";
import { createTransparentTransport } from "#proxy/kernel/transparent.ts";
import { DEFAULT_PROXY_CONFIG, startProxy } from "#proxy/proxy.ts";
import { formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";
import { monotonicNs } from "#sys/clock.ts";

runProgram("cilium-proxy", async (signal) => {
  if (process.argv.includes("--help")) {
    process.stdout.write(formatHelp("cilium-proxy", "Decides HTTP and DNS policy on what the kernel redirects.", proxyFlags));
    return 0;
  }
  const flags = readFlags(proxyFlags);
  const log = createLogger("proxy");
  await using scope = new AsyncDisposableStack();
  const bpf = openBpf();
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
      },
    );
  const transport = createTransparentTransport({
    ports: { ingress: flags["proxy-ingress-port"], egress: flags["proxy-egress-port"] },
    ipv6: flags["enable-ipv6"],
  });
  const proxy = await startProxy(
    { log, transport, identities, startDns },
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
  if (flags["proxy-prometheus-port"] > 0) {
    const [{ createMetrics, serveMetrics }, { registerProxyMetrics }] = await Promise.all([
      import("#runtime/metrics.ts"),
      import("#proxy/prometheus.ts"),
    ]);
    const registry = await createMetrics();
    await registerProxyMetrics(registry, proxy);
    scope.use(await serveMetrics(registry, { host: "0.0.0.0", port: flags["proxy-prometheus-port"] }));
  }
  log.info("listening for redirected connections", { ...proxy.status() });
  await aborted(signal);
  log.info("stopping, requests under way may finish", { connections: proxy.status().connections });
  return 0;
});
