import { availableParallelism } from "node:os";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { HealthReport } from "#runtime/health.ts";
import { VERSION } from "#runtime/version.ts";
import { formatNanoseconds } from "#types/duration.ts";
import { clusterIdentityRange } from "#types/identity.ts";
import type { AgentConfig } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import type { RunningHubble } from "./hubble.ts";
import { formatIpam } from "./ipam-view.ts";
import { kernelHttpStatus } from "./kernel-http-counts.ts";
import { kprStatus } from "./kpr-status.ts";
import { lbSettings } from "./lb-settings.ts";
import { redirectsOf } from "./redirects.ts";

/** The ports that `src/proxy/protocol.ts` takes its listeners from. */
const PROXY_PORT_RANGE = "10000-20000";

/** The agent's state as upstream's `StatusResponse`. */
export function agentStatus(deps: EdgeDeps & { readonly hubble: RunningHubble | undefined }, config: AgentConfig): unknown {
  const { phase, state, kernel, self, proxy, loops, hubble } = deps;
  const reports = deps.health.list();
  const failing = reports.filter(({ level }) => level === "degraded");
  const isReady = phase.is === "ready";
  const redirects = redirectsOf(state);
  return {
    cilium: isReady ? { state: "Ok", msg: `${VERSION} (v${VERSION})` } : { state: "Warning", msg: phase.unavailable() ?? "" },
    version: VERSION,
    node: self.name,
    kubernetes: { state: phase.is === "starting" ? "Warning" : "Ok", msg: deps.kubernetes, "k8s-api-versions": apiVersions },
    "kube-proxy-replacement": kprStatus(
      lbSettings(config),
      self,
      [self.ipv4, self.ipv6].filter((ip) => ip !== undefined),
    ),
    "cni-chaining": { mode: "none" },
    "cni-file": {
      state: isReady ? "Ok" : "Disabled",
      msg: isReady ? `successfully wrote CNI configuration file to ${config["write-cni-conf-when-ready"]}` : "",
    },
    ipam: formatIpam(kernel.pools),
    cluster: { name: config["cluster-name"], self: self.name, nodes: [...state.nodes.table.list()].map(({ name }) => ({ name })) },
    controllers: reports.map(controllerStatus),
    ...(failing.length > 0 ? { stale: Object.fromEntries(failing.map(({ name, since }) => [name, since.toISOString()])) } : {}),
    proxy: {
      ip: kernel.routers[0] ?? "",
      "port-range": PROXY_PORT_RANGE,
      "total-redirects": redirects.length,
      "envoy-deployment-mode": "external",
      connected: proxy.connected,
      redirects,
    },
    "kernel-http": kernelHttpStatus(kernel.datapath),
    "identity-range": { "min-identity": clusterIdentityRange.first, "max-identity": clusterIdentityRange.last },
    hubble: hubbleStatus(hubble),
    "hubble-metrics": { state: hubble && config["hubble-metrics"] !== "" ? "Ok" : "Disabled" },
    routing: { mode: config["routing-mode"], "intra-host-routing-mode": "BPF", "inter-host-routing-mode": config["routing-mode"] },
    masquerading: { enabled: false },
    encryption: { mode: "Disabled" },
    policy: { revision: state.controller.repository.revision, "realized-revision": realizedRevision(deps) },
    "bpf-maps": { "dynamic-size-ratio": 0, maps: [{ name: "policy", size: config["bpf-policy-map-max"], used: loops.policyMaps.maps }] },
    ...(hubble ? { nodeMonitor: monitorStatus(kernel) } : {}),
    "attach-mode": "tcx",
    "datapath-mode": "veth",
  };
}

const apiVersions = [
  "cilium/v2::CiliumNetworkPolicy",
  "cilium/v2::CiliumClusterwideNetworkPolicy",
  "cilium/v2::CiliumEndpoint",
  "cilium/v2::CiliumNode",
  "core/v1::Pods",
  "core/v1::Service",
  "discovery/v1::EndpointSlice",
  "networking.k8s.io/v1::NetworkPolicy",
  "policy.networking.k8s.io/v1alpha2::ClusterNetworkPolicy",
];

function controllerStatus(report: HealthReport): unknown {
  const { name, message, successes, failures, consecutiveFailures, lastSuccess, lastFailure } = report;
  return {
    name,
    status: {
      "success-count": successes,
      "failure-count": failures,
      "consecutive-failure-count": consecutiveFailures,
      "last-failure-msg": message,
      ...(lastSuccess ? { "last-success-timestamp": lastSuccess.toISOString() } : {}),
      ...(lastFailure ? { "last-failure-timestamp": lastFailure.toISOString() } : {}),
    },
  };
}

const PAGE_BYTES = 4096;

/** The ring that the programs report into; all processors share it. */
export function monitorStatus({ datapath }: EdgeDeps["kernel"]): unknown {
  const { eventsLost } = datapath.maps;
  const lost = (eventsLost.get(0) ?? []).reduce((sum, one) => sum + one, 0n);
  return { cpus: availableParallelism(), npages: specs.ciliumEvents.maxEntries / PAGE_BYTES, pagesize: PAGE_BYTES, lost: Number(lost) };
}

function hubbleStatus(hubble: RunningHubble | undefined): unknown {
  if (!hubble) return { state: "Disabled", msg: "" };
  const { flows, maxFlows, seenFlows, uptimeNs, flowsPerSecond } = hubble.observer.status();
  const lost = hubble.history?.lost() ?? 0;
  return {
    state: "Ok",
    msg: lost > 0 ? `${lost} flows are not in the history on disk, which was full or too slow` : "",
    observer: {
      "current-flows": flows,
      "max-flows": maxFlows,
      "seen-flows": Number(seenFlows),
      uptime: formatNanoseconds(uptimeNs),
      "flows-per-second": flowsPerSecond,
    },
  };
}

/** The lowest revision that any endpoint has in the kernel. */
export function realizedRevision({ state, loops }: Pick<EdgeDeps, "state" | "loops">): number {
  const revisions = [...state.endpoints.list()].map(({ id }) => loops.policyMaps.realized(id)?.revision ?? 0);
  return revisions.length === 0 ? state.controller.repository.revision : Math.min(...revisions);
}
