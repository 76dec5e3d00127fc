import { type FlowLogConfig, startFlowLog } from "#hubble/export/exporter.ts";
import { type FlowLogs, parseFilterList, startFlowLogs } from "#hubble/export/flow-logs.ts";
import { type History, startHistory } from "#hubble/history/history.ts";
import type { Names } from "#hubble/names.ts";
import { type Observer, startObserver } from "#hubble/observer/observer.ts";
import { createRedact, type Redact } from "#hubble/parser/redact.ts";
import { startHubbleServer } from "#hubble/server/hubble.ts";
import { createPeerTable, hubbleServerName } from "#hubble/server/peers.ts";
import type { ServerTls } from "#hubble/server/tls.ts";
import { createBootClock } from "#monitor/decode.ts";
import { startMonitorStream } from "#monitor/stream.ts";
import { internalIp } from "#node/node.ts";
import { errorMessage } from "#runtime/errors.ts";
import { FlagError } from "#runtime/flags.ts";
import { VERSION } from "#runtime/version.ts";
import { boottimeNs } from "#sys/clock.ts";
import { createCgroupIndex } from "./cgroups.ts";
import { type AgentConfig, parseListenAddress } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { serveHubbleMetrics } from "./hubble-metrics.ts";
import { cgroupRoot } from "./kernel.ts";
import { lbSettings } from "./lb-settings.ts";
import { createNames } from "./names.ts";

export interface RunningHubble extends AsyncDisposable {
  readonly observer: Observer;
  /** Undefined when nothing is kept on disk. */
  readonly history: History | undefined;
}

/** Ring buffer → monitor events → flows → gRPC and metrics. */
export async function startHubble(deps: EdgeDeps, config: AgentConfig): Promise<RunningHubble> {
  const { state, kernel, hub, self, log } = deps;
  const scope = new AsyncDisposableStack();
  const { maps } = kernel.datapath;
  const names = createNames(
    {
      endpoints: state.endpoints,
      identities: state.identities.table,
      pods: state.pods.pods,
      policies: state.policies.table,
      frontends: state.services.tables.frontends,
      ipcache: state.ipcache,
      cookies: state.cookies,
      controller: state.controller,
      dnsNames: state.dnsNames,
      interfaceName: interfaceNames(deps),
    },
    { nodeName: self.name, nodeLabels: nodeLabels(deps), clusterName: config["cluster-name"] },
  );
  const observer = startObserver(
    { names: { ...names, endpointByCgroup: podsByCgroup(deps, config) }, log: log.child("hubble"), version: VERSION },
    { capacity: config["hubble-event-buffer-capacity"], redact: redactOf(config) },
  );
  scope.use(hub.subscribe((event) => observer.push(event)));
  scope.use(
    startMonitorStream({
      openRing: (onBatch) => kernel.bpf.openRing(maps.events, onBatch),
      readLost: () => (maps.eventsLost.get(0) ?? []).reduce((sum, one) => sum + one, 0n),
      push: (event) => hub.push(event),
      clock: createBootClock(boottimeNs),
    }),
  );
  const listen = [config["hubble-listen-address"], config["hubble-socket-path"] && `unix://${config["hubble-socket-path"]}`].filter(
    (address) => address !== "",
  );
  const history = await keepHistory(observer, deps, config, scope);
  const tls = serverTls(config);
  const peers = followPeers(deps, config, scope);
  scope.use(await startHubbleServer({ observer, history, peers, log: log.child("hubble") }, { listen, tls }));
  const flowLogs = await exportFlows(observer, deps, config, scope);
  await serveHubbleMetrics({ observer, history, flowLogs }, deps, config, scope);
  hub.agent({ kind: "agent-started", time: BigInt(Date.now()) * 1_000_000n });
  return { observer, history, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

function serverTls(config: AgentConfig): ServerTls | undefined {
  const certFile = config["hubble-tls-cert-file"];
  if (config["hubble-disable-tls"] || certFile === "") return undefined;
  return { certFile, keyFile: config["hubble-tls-key-file"], clientCaFiles: config["hubble-tls-client-ca-files"] };
}

/** Flows on disk, when wanted. A directory that cannot be made costs the history, not the node. */
async function keepHistory(
  observer: Observer,
  { log }: EdgeDeps,
  config: AgentConfig,
  scope: AsyncDisposableStack,
): Promise<History | undefined> {
  const directory = config["hubble-history-path"];
  if (directory === "") return undefined;
  const maxBytes = config["hubble-history-max-size-mb"] * 1e6;
  try {
    const history = await startHistory(observer, log.child("hubble"), { directory, maxBytes, maxAgeMs: config["hubble-history-max-age"] });
    return scope.use(history);
  } catch (thrown) {
    log.error("--hubble-history-path cannot be used, flows are only in memory", { directory, error: errorMessage(thrown) });
    return undefined;
  }
}

/** Flow logs: the one of the flags, and those of a file, which are returned. Settings that cannot be read cost the log, not the node. */
async function exportFlows(
  observer: Observer,
  { log }: EdgeDeps,
  config: AgentConfig,
  scope: AsyncDisposableStack,
): Promise<FlowLogs | undefined> {
  try {
    const flowLog = staticFlowLog(config);
    if (flowLog) scope.use(startFlowLog(observer, log.child("hubble"), flowLog));
  } catch (thrown) {
    log.error("--hubble-export-* cannot be read, no flow log", { error: errorMessage(thrown) });
  }
  const path = config["hubble-flowlogs-config-path"];
  return path === "" ? undefined : scope.use(await startFlowLogs(observer, log.child("hubble"), path));
}

function staticFlowLog(config: AgentConfig): FlowLogConfig | undefined {
  if (config["hubble-export-file-path"] === "") return undefined;
  return {
    name: "hubble-export",
    filePath: config["hubble-export-file-path"],
    fileMaxSizeMb: config["hubble-export-file-max-size-mb"],
    fileMaxBackups: config["hubble-export-file-max-backups"],
    fileCompress: config["hubble-export-file-compress"],
    fieldMask: config["hubble-export-fieldmask"],
    includeFilters: parseFilterList("hubble-export-allowlist", config["hubble-export-allowlist"]),
    excludeFilters: parseFilterList("hubble-export-denylist", config["hubble-export-denylist"]),
    end: undefined,
  };
}

/** Throws `FlagError` when the settings contradict each other: nothing may be shown that should be hidden. */
function redactOf(config: AgentConfig): Redact {
  try {
    return createRedact({
      enabled: config["hubble-redact-enabled"],
      urlQuery: config["hubble-redact-http-urlquery"],
      userInfo: config["hubble-redact-http-userinfo"],
      allowHeaders: config["hubble-redact-http-headers-allow"],
      denyHeaders: config["hubble-redact-http-headers-deny"],
    });
  } catch (thrown) {
    throw new FlagError("bad-flag", errorMessage(thrown));
  }
}

/** The pod whose process asked for a service: socket events know its cgroup alone. */
function podsByCgroup({ state }: EdgeDeps, config: AgentConfig): NonNullable<Names["endpointByCgroup"]> {
  if (lbSettings(config).sockets === "none") return () => undefined;
  const cgroups = createCgroupIndex(cgroupRoot(config));
  return (cgroupId) => {
    const uid = cgroups.podUid(cgroupId);
    const row = uid === undefined ? undefined : [...state.endpoints.list()].find(({ pod }) => pod.uid === uid);
    return row && { endpointId: row.id, ips: [row.ipv4, row.ipv6].filter((ip) => ip !== undefined) };
  };
}

/** All nodes of the cluster as Hubble peers. */
function followPeers({ state }: EdgeDeps, config: AgentConfig, scope: AsyncDisposableStack) {
  const peers = createPeerTable();
  const port = parseListenAddress(config["hubble-listen-address"])?.port ?? 4244;
  const cluster = config["cluster-name"];
  const changes = scope.use(state.nodes.table.observe());
  changes.onReady(() => {
    changes.take();
    peers.set(
      [...state.nodes.table.list()].flatMap((node) => {
        const ip = internalIp(node, 4) ?? internalIp(node, 6);
        if (ip === undefined) return [];
        return [
          {
            name: cluster === "default" ? node.name : `${cluster}/${node.name}`,
            address: ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`,
            ...(serverTls(config) ? { tlsServerName: hubbleServerName(node.name, cluster) } : {}),
          },
        ];
      }),
    );
  });
  return peers;
}

function nodeLabels({ state }: EdgeDeps): string[] {
  return Object.entries(state.nodes.self().node?.metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`);
}

/** Names of devices, looked up once: flows ask for the same few again and again. */
function interfaceNames({ kernel, state }: EdgeDeps): (ifindex: number) => string | undefined {
  const known = new Map<number, string | undefined>();
  return (ifindex) => {
    if (ifindex === 0) return undefined;
    const [endpoint] = state.endpoints.by("ifindex", ifindex);
    if (endpoint) return endpoint.interface.name;
    if (!known.has(ifindex)) known.set(ifindex, kernel.netlink.link(ifindex)?.name);
    return known.get(ifindex);
  };
}
