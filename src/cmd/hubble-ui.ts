import { createClusterView } from "#hubble/ui/cluster-view.ts";
import { startUi } from "#hubble/ui/server.ts";
import { openCluster } from "#k8s/client.ts";
import { ClusterConfigError, loadClusterConfig } from "#k8s/config.ts";
import { defineFlags, formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger, type Logger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";

const flags = defineFlags({
  "listen-address": { type: "string", default: "0.0.0.0", help: "Address to serve the page at." },
  port: { type: "number", default: 8081, help: "Port to serve the page at." },
  "flows-api-addr": {
    type: "string",
    default: process.env.FLOWS_API_ADDR ?? "hubble-relay:80",
    help: "Hubble Relay; environment FLOWS_API_ADDR.",
  },
  "backend-addr": {
    type: "string",
    default: "",
    help: "host:port of another hubble-ui that asks Hubble Relay; this one then serves the page only.",
  },
  "cilium-namespace": { type: "string", default: process.env.CILIUM_NAMESPACE ?? "kube-system", help: "Namespace that Cilium runs in." },
});

/** The cluster to read policies of; without one the page shows flows only. */
async function clusterOf(log: Logger) {
  try {
    return openCluster(await loadClusterConfig());
  } catch (thrown) {
    if (!(thrown instanceof ClusterConfigError)) throw thrown;
    log.warn("policies cannot be shown", { error: thrown.message });
    return undefined;
  }
}

runProgram("hubble-ui", async (signal) => {
  if (process.argv.includes("--help")) {
    process.stdout.write(formatHelp("hubble-ui", "Serves the Hubble page with the flows of Hubble Relay.", flags));
    return 0;
  }
  const config = readFlags(flags);
  const log = createLogger("hubble-ui");
  const directory = new URL("../../build/ui/", import.meta.url);
  using cluster = config["backend-addr"] === "" ? await clusterOf(log) : undefined;
  await using _ui = await startUi(
    { log, snapshot: cluster && createClusterView(cluster, config["cilium-namespace"]) },
    { host: config["listen-address"], port: config.port, relay: config["flows-api-addr"], backend: config["backend-addr"], directory },
  );
  log.info("serving the Hubble page", { port: config.port, relay: config["flows-api-addr"] });
  await aborted(signal);
  return 0;
});
