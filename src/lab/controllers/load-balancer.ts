import type { EndpointSlice } from "kubernetes-types/discovery/v1.js";
import { openNetlink } from "#netlink/socket.ts";
import { openNetns } from "#sys/netns.ts";
import type { NodeConfig } from "../config.ts";
import { netnsPath, WORLD_NETNS } from "../network/fabric.ts";
import { type Meta, type Service, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";

const SERVICE_NAME = "kubernetes.io/service-name";

type StoredSlice = Omit<EndpointSlice, "metadata"> & { metadata: Meta };

/**
 * The network in front of the cluster: leads each address that a load balancer service has to one node, as an announcement on the
 * local network would. With `externalTrafficPolicy: Local` that is a node which has a ready endpoint.
 */
export function startLoadBalancerRoutes(deps: ControllerDeps, nodes: readonly NodeConfig[]): Disposable {
  const routes = createRoutes();
  const controller = startController(deps, {
    name: "load-balancer",
    sources: [
      { resource: "services", keys: ({ metadata }) => [`${metadata.namespace}/${metadata.name}`] },
      {
        resource: "endpointslices.discovery.k8s.io",
        keys: ({ metadata }) => (metadata.labels?.[SERVICE_NAME] ? [`${metadata.namespace}/${metadata.labels[SERVICE_NAME]}`] : []),
      },
    ],
    reconcile(key) {
      const { namespace, name } = splitKey(key);
      const service = deps.cluster.get<Service>("services", name, namespace);
      const ips = service?.spec.type === "LoadBalancer" ? (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []) : [];
      const slices = () =>
        deps.cluster.list<StoredSlice>("endpointslices.discovery.k8s.io", { namespace, labelSelector: `${SERVICE_NAME}=${name}` }).items;
      const local = service?.spec.externalTrafficPolicy === "Local";
      const eligible = ips.length > 0 && local ? nodes.filter((node) => nodesOf(slices()).has(node.name)) : nodes;
      routes.set(key, new Map(ips.map((ip) => [ip, gateway(ip, eligible)])));
      return undefined;
    },
  });
  return {
    [Symbol.dispose]() {
      controller[Symbol.dispose]();
      routes.close();
    },
  };
}

/** Nodes with an endpoint that takes connections. */
function nodesOf(slices: readonly StoredSlice[]): Set<string> {
  const endpoints = slices.flatMap((slice) => slice.endpoints);
  return new Set(endpoints.flatMap(({ conditions, nodeName }) => ((conditions?.ready ?? true) && nodeName ? [nodeName] : [])));
}

/** One node for an address: addresses are spread over the nodes, and stay where they are. */
function gateway(ip: string, nodes: readonly NodeConfig[]): string | undefined {
  const sum = [...ip].reduce((total, letter) => total + letter.charCodeAt(0), 0);
  const node = nodes[sum % Math.max(1, nodes.length)];
  return ip.includes(":") ? node?.ipv6 : node?.ipv4;
}

/** The world's routes to these addresses; an address without a gateway is not reached. */
function createRoutes() {
  const bySource = new Map<string, ReadonlyMap<string, string | undefined>>();
  const present = new Map<string, string>();
  using world = openNetns(netnsPath(WORLD_NETNS));
  const netlink = openNetlink({ netns: world });
  return {
    set(source: string, wanted: ReadonlyMap<string, string | undefined>): void {
      const had = bySource.get(source);
      if (wanted.size === 0 && had === undefined) return;
      if (wanted.size > 0) bySource.set(source, wanted);
      else bySource.delete(source);
      for (const ip of new Set([...(had?.keys() ?? []), ...wanted.keys()])) {
        // Services may share an address.
        const via = [...bySource.values()].map((routes) => routes.get(ip)).find((one) => one !== undefined);
        if (present.get(ip) === via) continue;
        netlink.apply([via === undefined ? { set: "no-route", to: ip } : { set: "route", to: ip, via }]);
        if (via === undefined) present.delete(ip);
        else present.set(ip, via);
      }
    },
    close: () => netlink.close(),
  };
}
