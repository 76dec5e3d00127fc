import { hostname } from "node:os";
import { openCluster } from "#k8s/client.ts";
import { loadClusterConfig } from "#k8s/config.ts";
import { runAsLeader } from "#k8s/leader.ts";
import { operatorFlags } from "#operator/config.ts";
import { serveHealth } from "#operator/health.ts";
import { createDefinitions, runControllers } from "#operator/operator.ts";
import { formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger } from "#runtime/logger.ts";
import { createMetrics, serveMetrics } from "#runtime/metrics.ts";
import { registerProcessMetrics } from "#runtime/process-metrics.ts";
import { runProgram } from "#runtime/program.ts";

/** `host:port`, where an empty host is every address. */
function parseListenAddress(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(":");
  return { host: text.slice(0, colon) || "0.0.0.0", port: Number(text.slice(colon + 1)) };
}

runProgram("cilium-operator", async (signal) => {
  if (process.argv.includes("--help")) {
    process.stdout.write(
      formatHelp("cilium-operator", "The cluster-wide controllers of Cilium; one of all replicas leads.", operatorFlags),
    );
    return 0;
  }
  const config = readFlags(operatorFlags);
  const log = createLogger("operator");
  await using scope = new AsyncDisposableStack();
  const cluster = scope.use(openCluster(await loadClusterConfig({ kubeconfig: config["k8s-kubeconfig-path"] })));
  scope.use(
    await serveHealth(parseListenAddress(config["operator-api-serve-addr"]), async () => void (await cluster.json("GET", "/version"))),
  );
  if (config["operator-prometheus-serve-addr"] !== "") {
    const registry = await createMetrics();
    await registerProcessMetrics(registry, "cilium_operator_");
    scope.use(await serveMetrics(registry, parseListenAddress(config["operator-prometheus-serve-addr"])));
  }
  const deps = { cluster, log };
  if (!config["skip-crd-creation"]) await createDefinitions(deps, signal);
  const lease = {
    namespace: config["k8s-namespace"],
    name: "cilium-operator-resource-lock",
    identity: `${hostname()}-${process.pid}`,
    leaseSeconds: config["leader-election-lease-duration"] / 1000,
  };
  await runAsLeader(deps, lease, signal, (term) => runControllers(deps, config, term));
  return 0;
});
