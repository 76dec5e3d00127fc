import type { HealthReport } from "#runtime/health.ts";
import { clusterIdentityRange } from "#types/identity.ts";
import type { AgentConfig } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import type { RunningHubble } from "./hubble.ts";
import { formatIpam } from "./ipam-view.ts";
import { kernelHttpStatus } from "./kernel-http-counts.ts";
import { kprStatus } from "./kpr-status.ts";
import { lbSettings } from "./lb-settings.ts";
import { redirectsOf } from "./proxy-step.ts";

const VERSION = "0.1.0";

/** The agent's state as upstream's `StatusResponse`. */
export function agentStatus(deps: EdgeDeps & { readonly hubble: RunningHubble | undefined }, config: AgentConfig): unknown {
  const { phase, state, kernel, self, proxy, loops, hubble } = deps;
  const reports = deps.health.list();
  const failing = reports.filter(({ level }) => level === "degraded");
  const isReady = phase.is === "ready";
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
    controllers: reports.map((report) => controllerStatus(report, deps)),
    stale: Object.fromEntries(failing.map(({ name, since }) => [name, since.toISOString()])),
    proxy: {
      ip: kernel.routers[0] ?? "",
      "port-range": "10000-20000",
      "total-redirects": redirectsOf(state.subjects),
      "envoy-deployment-mode": "external",
      connected: proxy.connected,
    },
    "kernel-http": kernelHttpStatus(kernel.datapath),
    "identity-range": { "min-identity": clusterIdentityRange.first, "max-identity": clusterIdentityRange.last },
    hubble: hubbleStatus(hubble),
    routing: { mode: config["routing-mode"], "intra-host-routing-mode": "BPF", "inter-host-routing-mode": config["routing-mode"] },
    masquerading: { enabled: false },
    encryption: { mode: "Disabled" },
    policy: { revision: state.controller.repository.revision, "realized-revision": realizedRevision(deps) },
    "bpf-maps": { "dynamic-size-ratio": 0, maps: [{ name: "policy", size: config["bpf-policy-map-max"], used: loops.policyMaps.maps }] },
    monitor: { state: config["enable-hubble"] ? "Ok" : "Disabled" },
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

function controllerStatus({ name, level, message, since }: HealthReport, { counters }: EdgeDeps): unknown {
  const { succeeded, failed } = counters.of(name.replace(/^reconciler-/, ""));
  return {
    name,
    status: {
      "success-count": succeeded,
      "failure-count": failed,
      "consecutive-failure-count": level === "degraded" ? 1 : 0,
      "last-failure-msg": message,
      since: since.toISOString(),
    },
  };
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
      uptime: Number(uptimeNs),
      "flows-per-second": flowsPerSecond,
    },
    metrics: { state: "Disabled" },
  };
}

/** The lowest revision that any endpoint has in the kernel. */
export function realizedRevision({ state, loops }: Pick<EdgeDeps, "state" | "loops">): number {
  const revisions = [...state.endpoints.list()].map(({ id }) => loops.policyMaps.realized(id)?.revision ?? 0);
  return revisions.length === 0 ? state.controller.repository.revision : Math.min(...revisions);
}
