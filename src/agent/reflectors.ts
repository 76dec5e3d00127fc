import type { Cluster } from "#k8s/client.ts";
import { type ReflectorHandler, type ReflectorOptions, startReflector } from "#k8s/reflector.ts";
import * as kinds from "#k8s/resources.ts";
import type { CiliumCIDRGroup, KubeObject } from "#k8s/types.ts";
import type { Health } from "#runtime/health.ts";
import type { Logger } from "#runtime/logger.ts";
import { createCiliumEndpointHandler } from "./cilium-endpoints.ts";
import type { Counters } from "./counters.ts";
import type { AgentState } from "./state.ts";

export interface Reflectors extends AsyncDisposable {
  /** Our own node's objects have been listed: enough to set the node up. */
  readonly nodesSynced: Promise<void>;
  /** Everything that decides about packets has been listed once. */
  readonly synced: Promise<void>;
}

/** Kubernetes → tables. */
export function startReflectors(
  deps: {
    readonly cluster: Cluster;
    readonly log: Logger;
    readonly health: Health;
    readonly state: AgentState;
    readonly counters: Counters;
  },
  config: { readonly nodeName: string; readonly isOwnNode: (ip: string) => boolean },
): Reflectors {
  const { state } = deps;
  const scope = new AsyncDisposableStack();
  const synced: Promise<void>[] = [];
  const start = <T extends KubeObject>(resource: kinds.Resource<T>, handler: ReflectorHandler<T>, options: ReflectorOptions = {}) => {
    synced.push(scope.use(startReflector(deps, resource, options, both(handler, counting(deps.counters, resource.kind)))).synced);
  };
  // What prunes wait for: a map entry is stray only when every source had its say.
  const listed = [state.ipcache.expect("kubernetes"), state.identities.expect("kubernetes"), state.policies.expect("kubernetes")];
  const servicesListed = state.services.expect("kubernetes");

  start(kinds.NODES, both(state.nodes.nodeHandler, state.services.nodeHandler));
  start(kinds.CILIUM_NODES, state.nodes.ciliumNodeHandler);
  const nodesSynced = Promise.all(synced).then(() => undefined);
  start(kinds.PODS, both(state.pods.podHandler, state.services.podHandler), {
    fieldSelector: `spec.nodeName=${config.nodeName}`,
  });
  start(kinds.NAMESPACES, state.pods.namespaceHandler);
  start(kinds.CILIUM_IDENTITIES, state.identities.handler);
  start(kinds.SERVICES, state.services.serviceHandler);
  start(kinds.ENDPOINT_SLICES, state.services.sliceHandler);
  start(kinds.CILIUM_LOCAL_REDIRECT_POLICIES, state.services.redirectHandler);
  start(kinds.CILIUM_CIDR_GROUPS, cidrGroupHandler(state));
  start(kinds.CILIUM_NETWORK_POLICIES, state.policies.handler("CiliumNetworkPolicy", "cilium.io/v2"));
  start(kinds.CILIUM_CLUSTERWIDE_NETWORK_POLICIES, state.policies.handler("CiliumClusterwideNetworkPolicy", "cilium.io/v2"));
  start(kinds.NETWORK_POLICIES, state.policies.handler("NetworkPolicy", "networking.k8s.io/v1"));
  const clusterPolicies = state.policies.handler("ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2");
  start(kinds.CLUSTER_NETWORK_POLICIES, clusterPolicies, { optional: true });
  start(kinds.CILIUM_ENDPOINTS, ciliumEndpoints(state, config.isOwnNode));
  const all = Promise.all(synced).then(() => {
    for (const done of listed) done();
    servicesListed();
  });
  return {
    nodesSynced,
    synced: all,
    [Symbol.asyncDispose]: () => scope.disposeAsync(),
  };
}

function both<T>(...handlers: readonly ReflectorHandler<T>[]): ReflectorHandler<T> {
  return {
    replace(objects) {
      for (const handler of handlers) handler.replace(objects);
    },
    upsert(object) {
      for (const handler of handlers) handler.upsert(object);
    },
    remove(object) {
      for (const handler of handlers) handler.remove(object);
    },
  };
}

function counting({ events }: Counters, scope: string): ReflectorHandler<unknown> {
  const add = (action: string, count = 1) => count > 0 && events.add({ scope, action, status: "success" }, count);
  return {
    replace: (objects) => void add("create", objects.length),
    upsert: () => void add("update"),
    remove: () => void add("delete"),
  };
}

function ciliumEndpoints(state: AgentState, isOwnNode: (ip: string) => boolean) {
  const { db, ipcache, identities, ownObjects } = state;
  return createCiliumEndpointHandler(
    {
      db,
      ipcache,
      identities,
      onOwn(object, gone) {
        const key = `${object.metadata.namespace}/${object.metadata.name}`;
        if (gone) ownObjects.delete(key);
        else ownObjects.set(key, object);
      },
    },
    { isOwnNode },
  );
}

function cidrGroupHandler({ prefixes }: AgentState): ReflectorHandler<CiliumCIDRGroup> {
  const groups = new Map<string, CiliumCIDRGroup>();
  const publish = () => prefixes.setGroups([...groups.values()]);
  return {
    replace(objects) {
      groups.clear();
      for (const object of objects) groups.set(object.metadata.name, object);
      publish();
    },
    upsert(object) {
      groups.set(object.metadata.name, object);
      publish();
    },
    remove(object) {
      groups.delete(object.metadata.name);
      publish();
    },
  };
}
