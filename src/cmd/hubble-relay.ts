import type { TlsOptions } from "#hubble/client/transport.ts";
import type { PeerSource } from "#hubble/server/peers.ts";
import type { ServerTls } from "#hubble/server/tls.ts";
import { errorMessage } from "#runtime/errors.ts";
import { defineFlags, type FlagValues, formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger, type Logger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";
import { VERSION } from "#runtime/version.ts";

const flags = defineFlags({
  "cluster-name": { type: "string", default: "default", help: "Name of the cluster, which node names carry unless it is default" },
  "config-dir": { type: "string", default: "", help: "Directory of a mounted ConfigMap with these flags" },
  debug: { type: "boolean", default: false, help: "Log more" },
  "dial-timeout": { type: "duration", default: 30_000, help: "Longest time to connect to an agent" },
  "health-listen-address": { type: "string", default: ":4222", help: "Where gRPC's health service listens; empty for nowhere" },
  "listen-address": { type: "list", default: [":4245"], help: "Where the relay listens" },
  "peer-service": { type: "string", default: "", help: "Address of an agent's Peer service: host:port or unix:///path" },
  "peer-source": {
    type: "string",
    default: "auto",
    help: "Where the agents' addresses come from: nodes (CiliumNode objects), service (--peer-service) or auto",
  },
  "retry-timeout": { type: "duration", default: 30_000, help: "Longest time between two attempts to connect to an agent" },
  "sort-buffer-drain-timeout": {
    type: "duration",
    default: 1000,
    help: "How long a flow waits for flows of other nodes that may be older",
  },
  "sort-buffer-len-max": { type: "number", default: 100, help: "Most flows of a node that wait" },
  "disable-client-tls": { type: "boolean", default: false, help: "Talk to agents in clear text" },
  "tls-hubble-client-cert-file": { type: "string", default: "", help: "Certificate that the relay shows to agents; clear text when empty" },
  "tls-hubble-client-key-file": { type: "string", default: "", help: "Private key of that certificate" },
  "tls-hubble-server-ca-files": { type: "list", default: [], help: "Authorities of the agents' certificates" },
  "disable-server-tls": { type: "boolean", default: false, help: "Serve in clear text" },
  "tls-relay-server-cert-file": { type: "string", default: "", help: "Certificate that clients see; clear text when empty" },
  "tls-relay-server-key-file": { type: "string", default: "", help: "Private key of that certificate" },
  "tls-relay-client-ca-files": { type: "list", default: [], help: "Authorities of clients' certificates; any client when empty" },
});

type Flags = FlagValues<typeof flags>;

function clientTls(config: Flags): TlsOptions | undefined {
  const certFile = config["tls-hubble-client-cert-file"];
  if (config["disable-client-tls"] || certFile === "") return undefined;
  return { certFile, keyFile: config["tls-hubble-client-key-file"], caFiles: config["tls-hubble-server-ca-files"] };
}

function serverTls(config: Flags): ServerTls | undefined {
  const certFile = config["tls-relay-server-cert-file"];
  if (config["disable-server-tls"] || certFile === "") return undefined;
  return { certFile, keyFile: config["tls-relay-server-key-file"], clientCaFiles: config["tls-relay-client-ca-files"] };
}

const DEFAULT_PEER_SERVICE = "hubble-peer.kube-system.svc.cluster.local:80";

/** Decides where agents are found: the cluster's CiliumNode objects when there is a cluster to ask and we may, else the Peer service. */
async function peerSource(config: Flags, log: Logger): Promise<PeerSource> {
  const wanted = config["peer-source"];
  const nodes = wanted === "service" || config["peer-service"] !== "" ? undefined : await nodeSource(config, log, wanted === "nodes");
  if (nodes !== undefined) return nodes;
  const { peerServiceSource } = await import("#hubble/relay/peer-service.ts");
  return peerServiceSource({ log }, config["peer-service"] || DEFAULT_PEER_SERVICE);
}

/** Undefined: no cluster is configured, or it does not let us read its nodes, and nobody insists. */
async function nodeSource(config: Flags, log: Logger, insist: boolean): Promise<PeerSource | undefined> {
  const [{ loadClusterConfig }, { openCluster, KubeError }, { CILIUM_NODES }, { ciliumNodeSource }] = await Promise.all([
    import("#k8s/config.ts"),
    import("#k8s/client.ts"),
    import("#k8s/resources.ts"),
    import("#hubble/relay/cilium-nodes.ts"),
  ]);
  const source = async () => {
    const cluster = openCluster(await loadClusterConfig());
    try {
      await cluster.list(CILIUM_NODES);
    } catch (thrown) {
      // A kind or a server that is not there yet will come: the reflector asks again. A refusal stays.
      if (thrown instanceof KubeError && (thrown.status === 401 || thrown.status === 403)) throw thrown;
    }
    return ciliumNodeSource({ cluster, log }, config["cluster-name"]);
  };
  try {
    return await source();
  } catch (thrown) {
    if (insist) throw thrown;
    log.warn("CiliumNode objects cannot be read, asking the peer service", { error: errorMessage(thrown) });
    return undefined;
  }
}

runProgram("hubble-relay", async (signal) => {
  const argv = process.argv.slice(2).filter((arg, index) => !(index === 0 && arg === "serve"));
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(formatHelp("hubble-relay serve", "Serves the flows of all nodes as those of one.", flags));
    return;
  }
  const config = readFlags(flags, argv);
  const log = createLogger("hubble-relay", config.debug ? { level: "debug" } : {});
  const { startRelay } = await import("#hubble/relay/relay.ts");
  await using _ = await startRelay(
    { peers: await peerSource(config, log), log, version: `hubble-relay v${VERSION}` },
    {
      listen: config["listen-address"],
      healthListen: config["health-listen-address"] === "" ? [] : [config["health-listen-address"]],
      clientTls: clientTls(config),
      serverTls: serverTls(config),
      dialTimeoutMs: config["dial-timeout"],
      retryMs: config["retry-timeout"],
      sortBufferDrainMs: config["sort-buffer-drain-timeout"],
      sortBufferLength: config["sort-buffer-len-max"],
    },
  );
  await aborted(signal);
});
