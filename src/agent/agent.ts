import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { replayDeleteQueue } from "#cni/delete-queue.ts";
import { installPlugin, writeConflist } from "#cni/install.ts";
import { startCniServer } from "#cni/server.ts";
import type { HttpMaps } from "#datapath/loader.ts";
import { type Cluster, openCluster } from "#k8s/client.ts";
import { loadClusterConfig } from "#k8s/config.ts";
import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import { readDeniedReply } from "#proxy/flags.ts";
import type { AccessRecord } from "#proxy/protocol.ts";
import { unusedSettings } from "#runtime/flags.ts";
import { createHealth } from "#runtime/health.ts";
import { startInterval, startJob } from "#runtime/job.ts";
import { createLogger, type LogLevel } from "#runtime/logger.ts";
import { aborted } from "#runtime/scope.ts";
import { type AgentConfig, agentFlags, nodeNameOf } from "./config.ts";
import { createCounters } from "./counters.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { startEdges } from "./edges.ts";
import { createEndpointControl } from "./endpoint-control.ts";
import { openKernel } from "./kernel.ts";
import { startKernelHttp } from "./kernel-http.ts";
import { startLoops } from "./loops.ts";
import { createMonitorHub } from "./monitor-hub.ts";
import { createPhase } from "./phase.ts";
import { startProxyClient } from "./proxy-client.ts";
import { publishNode } from "./publish-node.ts";
import { createUsagePublisher } from "./publish-usage.ts";
import { startReflectors } from "./reflectors.ts";
import { waitForSelf } from "./self.ts";
import { AUDIT_INTERVAL_MS } from "./service-loops.ts";
import { createState } from "./state.ts";
import { createUsage } from "./usage.ts";

/** The daemon, built from top to bottom and taken down in reverse. Pins and links stay: the datapath goes on without us. */
export async function runAgent(config: AgentConfig, signal: AbortSignal): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const started = performance.now();
  const counters = createCounters();
  for (const level of ["error", "warning"]) counters.problems.add({ level, subsystem: "cilium-agent" }, 0);
  const log = createLogger("cilium-agent", {
    ...(config["log-level"] === "" ? {} : { level: config["log-level"] as LogLevel }),
    onProblem: (level, subsystem) => counters.problems.add({ level, subsystem }),
  });
  const unused = unusedSettings(agentFlags, config);
  if (Object.keys(unused).length > 0) log.info("settings of Cilium's that have no effect here, and why", unused);
  const health = createHealth();
  const nodeName = nodeNameOf(config);
  const phase = createPhase();

  // What we know.
  const clusterConfig = await loadClusterConfig({ kubeconfig: config["k8s-kubeconfig-path"] || undefined });
  const cluster = scope.use(openCluster(clusterConfig, { onCall: counters.apiCall }));
  const state = createState({ cluster, log }, config, nodeName);
  const sources = { restored: state.endpoints.expect("restored endpoints"), decided: state.ipcache.expect("the first policies") };
  const isOwnNode = (ip: string) => state.nodes.table.get(nodeName)?.internalIps.some((address) => address === ip) ?? false;
  const reflectors = scope.use(startReflectors({ cluster, log: log.child("k8s"), health, state, counters }, { nodeName, isOwnNode }));
  await Promise.race([reflectors.nodesSynced, aborted(signal)]);

  // Who we are, and what of us is in the kernel.
  const self = await waitForSelf({ nodes: state.nodes.table, log, signal }, config, nodeName);
  if (!self) return;
  const kernel = scope.use(openKernel({ log }, config, self));
  kernel.restoreIdentities(state);
  state.services.setNodeAddresses(kernel.nodePortAddresses());
  state.fqdns.restore();

  // What runs by itself, and what is asked from outside.
  const hub = createMonitorHub();
  const inUse = () => (phase.is === "ready" ? loops.policyMaps.cookies() : undefined);
  const usage = createUsage({ log: log.child("usage"), maps: kernel.datapath.maps, state, inUse });
  scope.defer(usage.flush);
  const record = (message: AccessRecord | DnsAccessMessage) => {
    hub.access(message);
    usage.access(message);
  };
  const { datapath, netlink, bpf } = kernel;
  const { httpMaps } = datapath;
  const httpDeps = { bpf, endpoints: state.endpoints, log: log.child("http"), onAccess: record };
  const startHttp = (maps: HttpMaps) => {
    const denied = readDeniedReply(config["http-403-msg"], config["http-403-headers"]);
    return scope.use(startKernelHttp({ ...httpDeps, maps, denied }));
  };
  const kernelHttp = httpMaps && startHttp(httpMaps);
  const onAccess = (message: AccessRecord | DnsAccessMessage) => {
    if (message.type === "dns-access") state.dnsNames.take(message);
    kernelHttp?.learn(message);
    record(message);
  };
  const onNames = state.dnsNames.learn;
  const onLost = hub.proxyLost;
  const proxy = scope.use(startProxyClient({ log: log.child("proxy"), onAccess, onLost, onNames }, { path: config["proxy-socket-path"] }));
  const isRestored = () => phase.is !== "starting";
  const loops = scope.use(
    startLoops({ log, health, state, datapath, netlink, cluster, proxy, kernelHttp, self, hub, counters, isRestored }, config),
  );
  const endpointDeps = {
    log: log.child("endpoint"),
    state,
    kernel,
    loops,
    hub,
    counters,
    unavailable: phase.unavailable,
    purge: usage.purge,
  };
  const control = createEndpointControl(endpointDeps, config);
  const kubernetes = await kubernetesVersion(cluster);
  const limits = { policyEntries: config["bpf-policy-map-max"] };
  const agent: Agent = {
    log,
    health,
    cluster,
    state,
    kernel,
    loops,
    proxy,
    hub,
    counters,
    control,
    self,
    phase,
    usage,
    kubernetes,
    limits,
  };
  scope.use(await startEdges(agent, config));

  await Promise.race([reflectors.synced, aborted(signal)]);
  if (signal.aborted) return;
  await takeOver(agent, sources, signal);
  if (signal.aborted) return;
  const replayed = await admitPods(agent, config, scope);
  log.info("agent ready", { node: nodeName, endpoints: state.endpoints.size, replayed, ms: Math.round(performance.now() - started) });
  await aborted(signal);
}

interface Agent extends EdgeDeps {
  readonly cluster: Cluster;
}

/**
 * From the agent before us, or from nothing: the policies of the endpoints that are there are computed and written before any
 * program or map entry of before is touched.
 */
async function takeOver(
  { state, kernel, loops, control, phase }: Agent,
  sources: { readonly restored: () => void; readonly decided: () => void },
  signal: AbortSignal,
): Promise<void> {
  await control.restoreAll();
  sources.restored();
  phase.is = "restored";
  state.controller.start();
  // Where the API servers are is told by a service's endpoints.
  await loops.services.pipeline.settled();
  await loops.pipeline.settled();
  // Only now have the policies' address blocks had their say: a prune before would take what their flows live by.
  sources.decided();
  await Promise.race([Promise.all([loops.reconcilers.ipcache.pruned, loops.services.frontends.pruned]), aborted(signal)]);
  if (signal.aborted) return;
  kernel.releaseRestored(state);
  state.fqdns.releaseRestored();
  loops.settledOnce();
  control.attachAll();
  kernel.writeNode();
  kernel.attachNode();
}

/** Opens the node for new pods; the conflist comes last, since it is what runtimes wait for. Resolves with the DELs made up for. */
async function admitPods(agent: Agent, config: AgentConfig, scope: AsyncDisposableStack): Promise<number> {
  const { log, health, cluster, self, state, kernel, control, phase, usage } = agent;
  scope.use(startInterval({ log, health }, { name: "policy-usage", intervalMs: 1_000, run: async () => usage.flush() }));
  scope.use(
    startJob({ log, health }, { name: "ciliumnode", run: () => publishNode(cluster, self, kernel.routers, state.nodes.self().node) }),
  );
  const intervalMs = config["conntrack-gc-interval"];
  scope.use(startInterval({ log, health }, { name: "conntrack-gc", intervalMs, run: usage.collect }));
  scope.use(startInterval({ log, health }, { name: "lb-node", intervalMs: AUDIT_INTERVAL_MS, run: async () => kernel.writeNode() }));
  scope.use(startInterval({ log, health }, { name: "nat-gc", intervalMs, run: kernel.collectTranslations }));
  const everyUsage = config["policy-usage-interval"];
  const publish = createUsagePublisher({ cluster, usage, nodeName: self.name, node: () => state.nodes.self().node });
  if (everyUsage > 0) scope.use(startInterval({ log, health }, { name: "ciliumpolicyusage", intervalMs: everyUsage, run: publish }));
  scope.use(
    startInterval({ log, health }, { name: "endpoint-gc", intervalMs: config["endpoint-gc-interval"], run: () => control.collectDead() }),
  );
  scope.use(control.follow());
  phase.is = "ready";
  const replayed = await replayDeleteQueue({ attachments: control, log }, join(dirname(config["cni-socket-path"]), "deleteQueue"));
  scope.use(await startCniServer({ attachments: control, log: log.child("cni") }, { path: config["cni-socket-path"] }));
  const installation = cniInstallation(config);
  if (installation) {
    installPlugin(installation);
    const install = async () => void writeConflist(installation);
    scope.use(startInterval({ log, health }, { name: "cni-config", intervalMs: 5_000, run: install }));
  }
  return replayed;
}

/** The server's own words, for the status; empty when it does not tell. */
async function kubernetesVersion(cluster: Cluster): Promise<string> {
  const version = (await cluster.json("GET", "/version").catch(() => undefined)) as Record<string, string> | undefined;
  return version ? `${version.major}.${version.minor} (${version.gitVersion}) [${version.platform}]` : "";
}

function cniInstallation(config: AgentConfig) {
  const conflist = config["write-cni-conf-when-ready"];
  if (conflist === "") return undefined;
  const plugin = join(import.meta.dirname, "..", "..", "build", "cilium-cni");
  return {
    configDirectory: join(conflist, ".."),
    binDirectory: config["cni-bin-dir"],
    plugin: config["cni-bin-dir"] !== "" && existsSync(plugin) ? plugin : "",
    exclusive: config["cni-exclusive"],
    socketPath: config["cni-socket-path"],
    logFile: "/var/run/cilium/cilium-cni.log",
  };
}
