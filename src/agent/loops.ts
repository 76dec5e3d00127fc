import type { Datapath } from "#datapath/loader.ts";
import { createEndpointTarget } from "#datapath/reconcile/endpoints.ts";
import { createIpcacheTarget } from "#datapath/reconcile/ipcache.ts";
import { createPolicyMaps, type PolicyMaps } from "#datapath/reconcile/policy.ts";
import { createRouteTarget } from "#datapath/reconcile/routes.ts";
import type { Cluster } from "#k8s/client.ts";
import type { Netlink } from "#netlink/netlink.ts";
import type { SelfNode } from "#node/self.ts";
import { PROXY_PORTS } from "#proxy/protocol.ts";
import { type Pipeline, startPipeline } from "#reconciler/pipeline.ts";
import { createReconciler, type Reconciler, type ReconcilerDeps, startReconciler } from "#reconciler/reconciler.ts";
import type { AgentConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { dnsSettings } from "./dns-settings.ts";
import { createDnsSteps } from "./dns-step.ts";
import type { KernelHttp } from "./kernel-http.ts";
import { lbSettings } from "./lb-settings.ts";
import type { MonitorHub } from "./monitor-hub.ts";
import { createPolicyEvents } from "./policy-events.ts";
import type { ProxyClient } from "./proxy-client.ts";
import { createProxySteps } from "./proxy-step.ts";
import { createPublisher, createPublishTarget } from "./publish-endpoints.ts";
import { createSecrets } from "./secrets.ts";
import { type ServiceLoops, startServiceLoops } from "./service-loops.ts";
import { createStaleConnections } from "./stale-connections.ts";
import type { AgentState } from "./state.ts";

/** From tables to the kernel and back to the API server: everything that runs by itself. */
export interface Loops extends AsyncDisposable {
  readonly pipeline: Pipeline;
  readonly policyMaps: PolicyMaps;
  readonly services: ServiceLoops;
  /** To be called when all restored endpoints have been through the pipeline. */
  readonly settledOnce: () => void;
  readonly reconcilers: {
    readonly endpoints: Reconciler;
    readonly ipcache: Reconciler;
    readonly policies: Reconciler;
    readonly routes: Reconciler;
  };
}

export interface LoopsDeps extends ReconcilerDeps {
  readonly state: AgentState;
  readonly datapath: Datapath;
  readonly netlink: Netlink;
  readonly cluster: Cluster;
  readonly proxy: ProxyClient;
  readonly kernelHttp?: KernelHttp | undefined;
  readonly self: SelfNode;
  readonly hub: MonitorHub;
  readonly counters: Counters;
  readonly isRestored: () => boolean;
}

/** Others may change our maps; this often they are compared with the tables. */
const AUDIT_INTERVAL_MS = 30_000;

export function startLoops(given: LoopsDeps, config: AgentConfig): Loops {
  const deps = { ...given, onAttempt: given.counters.attempt };
  const { state, datapath, self, cluster } = deps;
  const { maps } = datapath;
  const scope = new AsyncDisposableStack();
  const policyMaps = scope.use(
    createPolicyMaps(
      {
        kernel: { outer: maps.policy, config: maps.policyConfig },
        cookies: state.cookies,
        log: deps.log.child("policy"),
        expedite: datapath.expedite,
      },
      { maxEntries: config["bpf-policy-map-max"], proxyPorts: PROXY_PORTS },
    ),
  );
  const endpointTarget = createEndpointTarget(
    { kernel: { byAddress: maps.lxc, byInterface: maps.lxcIfindex }, policies: policyMaps },
    { isAudited: (row) => state.audit.of(row) },
  );
  const pruneIntervalMs = AUDIT_INTERVAL_MS;
  const use = <T>(options: Parameters<typeof createReconciler<T>>[1]) => scope.use(createReconciler(deps, options));
  const reconcilers = {
    policies: use({ name: "policy", table: state.subjects, target: policyMaps.target, pruneIntervalMs }),
    endpoints: use({ name: "endpoints", table: state.endpoints, target: endpointTarget, pruneIntervalMs }),
    ipcache: use({
      name: "ipcache",
      table: state.ipcache.table,
      target: createIpcacheTarget({ exact: maps.ipcache, prefixes: maps.ipcacheLpm }),
      pruneIntervalMs,
    }),
    routes: use({
      name: "routes",
      table: state.nodes.table,
      target: config["auto-direct-node-routes"]
        ? createRouteTarget(deps.netlink, { name: self.name, device: self.device.index })
        : { update: () => {}, remove: () => {} },
    }),
  };
  const publisher = createPublisher({
    db: state.db,
    endpoints: state.endpoints,
    subjects: state.subjects,
    isAudited: (row) => state.audit.of(row),
    nodeIp: () => self.ipv4 ?? self.ipv6 ?? "",
  });
  const proxySteps = createProxySteps(
    {
      ...{ endpoints: state.endpoints, subjects: state.subjects, proxy: deps.proxy, log: deps.log.child("proxy") },
      isAudited: state.audit.of,
      onRules: deps.kernelHttp?.update,
      secrets: scope.use(createSecrets({ db: state.db, cluster, log: deps.log.child("secrets") })),
    },
    { isReady: deps.isRestored },
  );
  const dnsSteps = createDnsSteps(
    {
      ...{ endpoints: state.endpoints, subjects: state.subjects, proxy: deps.proxy, log: deps.log.child("dns") },
      ...{ identityOf: state.fqdns.identityOf, isAudited: state.audit.of },
    },
    { isReady: deps.isRestored, settings: dnsSettings(config) },
  );
  // The order is what keeps it safe: policies know an identity, and the proxy its rules, before the ipcache yields the identity.
  const pipeline = scope.use(
    startPipeline(deps, [
      state.nodes.step,
      state.controller,
      proxySteps.before,
      dnsSteps.before,
      reconcilers.policies,
      reconcilers.endpoints,
      proxySteps.after,
      dnsSteps.after,
      reconcilers.ipcache,
      reconcilers.routes,
      publisher.step,
      createPolicyEvents(
        { policies: state.policies.table, hub: deps.hub, counters: deps.counters },
        { isRestored: deps.isRestored, revision: () => state.controller.repository.revision },
      ),
    ]),
  );
  scope.use(
    startReconciler(deps, {
      name: "ciliumendpoints",
      table: publisher.table,
      target: createPublishTarget(cluster, () => state.ownObjects.values()),
    }),
  );
  const stale = createStaleConnections({ log: deps.log.child("services"), maps, endpoints: state.endpoints });
  const services = scope.use(
    startServiceLoops({ ...deps, db: state.db, endpoints: state.endpoints, services: state.services, stale }, lbSettings(config), {
      healthChecks: config["enable-health-check-nodeport"],
    }),
  );
  return { pipeline, policyMaps, services, settledOnce: publisher.listed, reconcilers, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}
