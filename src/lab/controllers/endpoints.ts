import { isDeepStrictEqual } from "node:util";
import type { Endpoints, ServicePort } from "kubernetes-types/core/v1.js";
import type { Endpoint, EndpointPort, EndpointSlice } from "kubernetes-types/discovery/v1.js";
import { type Cluster, unlessGone } from "../cluster.ts";
import { isFinished, isReady, keyOf, type Meta, type Node, type Pod, type Service, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { controllerReference, hashOf, itself } from "./owned.ts";

export const SERVICE_NAME = "kubernetes.io/service-name";
export const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
const SLICES = "endpointslices.discovery.k8s.io";
const ZONE = "topology.kubernetes.io/zone";
const TOPOLOGY_MODE = "service.kubernetes.io/topology-mode";
const MANAGER = "endpointslice-controller.k8s.io";

type StoredSlice = Omit<EndpointSlice, "metadata"> & { metadata: Meta };

/** Keeps EndpointSlices, and Endpoints for those who still read them, of every Service with a selector. */
export function startEndpoints(deps: ControllerDeps): Disposable {
  const { cluster } = deps;
  // A pod that loses a label must leave the slices too, so every Service of the namespace is looked at.
  const services = (namespace: string) => cluster.list<Service>("services", { namespace }).items.map(keyOf);
  return startController(deps, {
    name: "endpoints",
    sources: [
      itself("services"),
      { resource: "pods", keys: (pod) => services(pod.metadata.namespace) },
      {
        resource: SLICES,
        keys: ({ metadata }) => (metadata.labels?.[SERVICE_NAME] ? [`${metadata.namespace}/${metadata.labels[SERVICE_NAME]}`] : []),
      },
    ],
    reconcile: (key) => reconcile(cluster, key),
  });
}

function reconcile(cluster: Cluster, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const service = cluster.get<Service>("services", name, namespace);
  if (!service?.spec.selector || service.spec.type === "ExternalName") return;
  const pods = selectedPods(cluster, service);
  const zones = zonesOf(cluster);
  const bare = (service.spec.ipFamilies ?? ["IPv4"]).flatMap((family) => slicesOf(service, pods, family, zones));
  const wanted = withHints(service, bare);
  keepSlices(cluster, { namespace, name, manager: MANAGER }, wanted);
  const endpoints = endpointsOf(service, wanted);
  write(cluster, "endpoints", endpoints, cluster.get<Endpoints & { metadata: Meta }>("endpoints", name, namespace));
}

/** Makes the slices of a service that this manager keeps be the wanted ones. */
export function keepSlices(
  cluster: Cluster,
  of: { readonly namespace: string; readonly name: string; readonly manager: string },
  wanted: readonly NewSlice[],
): void {
  const existing = cluster.list<StoredSlice>(SLICES, {
    namespace: of.namespace,
    labelSelector: `${SERVICE_NAME}=${of.name},${MANAGED_BY}=${of.manager}`,
  }).items;
  for (const slice of wanted)
    write(
      cluster,
      SLICES,
      slice,
      existing.find((one) => one.metadata.name === slice.metadata.name),
    );
  const names = new Set(wanted.map((slice) => slice.metadata.name));
  for (const { metadata } of existing) {
    if (!names.has(metadata.name)) unlessGone(() => cluster.delete(SLICES, metadata.name, of.namespace));
  }
}

function selectedPods(cluster: Cluster, service: Service): Pod[] {
  const labelSelector = Object.entries(service.spec.selector ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const { items } = cluster.list<Pod>("pods", { namespace: service.metadata.namespace, labelSelector });
  return items
    .filter((pod) => pod.status?.podIP && pod.spec.nodeName && !isFinished(pod))
    .toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name));
}

/** A slice as a controller writes it. */
export interface NewSlice {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Pick<Meta, "name" | "namespace" | "labels" | "ownerReferences">;
  readonly addressType: string;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

// Pods whose named ports have other numbers go to slices of their own.
function slicesOf(service: Service, pods: readonly Pod[], family: string, zones: ReadonlyMap<string, string>): NewSlice[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>();
  const add = (ports: EndpointPort[], endpoint?: Endpoint) => {
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    groups.set(key, group);
    if (endpoint) group.endpoints.push(endpoint);
  };
  for (const pod of pods) {
    const address = pod.status?.podIPs?.find(({ ip = "" }) => ip.includes(":") === (family === "IPv6"))?.ip;
    if (address) add(portsOf(service, pod), endpointOf(service, pod, address, zones));
  }
  if (groups.size === 0) add([]);
  return [...groups].map(([key, group]) => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${service.metadata.name}-${hashOf([family, key, service.metadata.uid], 5)}`,
      namespace: service.metadata.namespace,
      labels: {
        ...service.metadata.labels,
        [SERVICE_NAME]: service.metadata.name,
        [MANAGED_BY]: MANAGER,
        ...(service.spec.clusterIP === "None" ? { "service.kubernetes.io/headless": "" } : {}),
      },
      ownerReferences: [controllerReference(service)],
    },
    addressType: family,
    ...group,
  }));
}

/** Node → zone, of nodes that have one. */
function zonesOf(cluster: Cluster): Map<string, string> {
  const nodes = cluster.list<Node>("nodes", {}).items;
  return new Map(nodes.flatMap(({ metadata }) => (metadata.labels?.[ZONE] ? [[metadata.name, metadata.labels[ZONE]]] : [])));
}

type Distributed = Service["spec"] & { trafficDistribution?: string };

/** Whom each endpoint is for, where the service asks for it: its own zone, or its own node. Not ready ones are for nobody. */
function withHints(service: Service, slices: readonly NewSlice[]): NewSlice[] {
  const { trafficDistribution } = service.spec as Distributed;
  const byZone = trafficDistribution?.startsWith("Prefer") || service.metadata.annotations?.[TOPOLOGY_MODE]?.toLowerCase() === "auto";
  if (!byZone) return [...slices];
  const hinted = (endpoint: Endpoint): Endpoint => {
    const { zone, nodeName, conditions } = endpoint;
    const forNodes = trafficDistribution === "PreferSameNode" && nodeName ? { forNodes: [{ name: nodeName }] } : {};
    const forZones = zone ? { forZones: [{ name: zone }] } : {};
    return conditions?.ready && (zone || nodeName) ? { ...endpoint, hints: { ...forZones, ...forNodes } } : endpoint;
  };
  return slices.map((slice) => ({ ...slice, endpoints: slice.endpoints.map(hinted) }));
}

function portsOf(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec.ports ?? []).flatMap((port) => {
    const number = targetPort(port, pod);
    return number === undefined
      ? []
      : [
          {
            name: port.name ?? "",
            port: number,
            protocol: port.protocol ?? "TCP",
            ...(port.appProtocol ? { appProtocol: port.appProtocol } : {}),
          },
        ];
  });
}

function targetPort(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target;
  const declared = pod.spec.containers.flatMap((container) => container.ports ?? []);
  return declared.find((one) => one.name === target && (one.protocol ?? "TCP") === (port.protocol ?? "TCP"))?.containerPort;
}

function endpointOf(service: Service, pod: Pod, address: string, zones: ReadonlyMap<string, string>): Endpoint {
  const serving = isReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const { hostname, subdomain, nodeName } = pod.spec;
  const zone = zones.get(nodeName ?? "");
  return {
    addresses: [address],
    conditions: { ready: service.spec.publishNotReadyAddresses === true || (serving && !terminating), serving, terminating },
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
    ...(hostname && subdomain === service.metadata.name ? { hostname } : {}),
    targetRef: { kind: "Pod", namespace: pod.metadata.namespace, name: pod.metadata.name, uid: pod.metadata.uid },
  };
}

function endpointsOf(service: Service, slices: readonly NewSlice[]) {
  const subsets = slices
    .filter((slice) => slice.addressType === (service.spec.ipFamilies?.[0] ?? "IPv4") && slice.endpoints.length > 0)
    .map((slice) => {
      const addresses = (ready: boolean) =>
        slice.endpoints
          .filter((endpoint) => (endpoint.conditions?.ready ?? false) === ready)
          .map(({ addresses: [ip = ""], nodeName, hostname, targetRef }) => ({ ip, nodeName, hostname, targetRef }));
      const [ready, notReady] = [addresses(true), addresses(false)];
      return {
        ...(ready.length ? { addresses: ready } : {}),
        ...(notReady.length ? { notReadyAddresses: notReady } : {}),
        ports: slice.ports,
      };
    });
  const { name, namespace, labels } = service.metadata;
  return {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { name, namespace, labels: { ...labels } },
    ...(subsets.length ? { subsets } : {}),
  };
}

type Written = { readonly metadata: { readonly name: string; readonly namespace: string } };

function write(cluster: Cluster, resource: string, object: Written, existing: object | undefined): void {
  const wanted = JSON.parse(JSON.stringify(object)) as Written; // without the fields that are undefined
  if (!existing) {
    cluster.create(resource, wanted);
    return;
  }
  const plain = (object: object): unknown => {
    const { metadata, apiVersion, kind, ...rest } = JSON.parse(JSON.stringify(object)) as Record<string, unknown>;
    return rest;
  };
  if (isDeepStrictEqual(plain(existing), plain(wanted))) return;
  cluster.update(resource, wanted);
}
