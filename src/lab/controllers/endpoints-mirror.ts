import type { EndpointAddress, EndpointSubset, Endpoints } from "kubernetes-types/core/v1.js";
import type { Endpoint } from "kubernetes-types/discovery/v1.js";
import type { Cluster } from "../cluster.ts";
import { type Meta, type Service, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { keepSlices, MANAGED_BY, type NewSlice, SERVICE_NAME } from "./endpoints.ts";
import { controllerReference, hashOf, itself } from "./owned.ts";

const MANAGER = "endpointslicemirroring-controller.k8s.io";
const SKIP = "endpointslice.kubernetes.io/skip-mirror";

type StoredEndpoints = Omit<Endpoints, "metadata"> & { apiVersion: string; kind: string; metadata: Meta };

/** Keeps EndpointSlices of the Endpoints that people write for Services without a selector: who forwards traffic reads slices alone. */
export function startEndpointsMirror(deps: ControllerDeps): Disposable {
  return startController(deps, {
    name: "endpoints-mirror",
    sources: [itself("endpoints"), itself("services")],
    reconcile(key) {
      const { namespace, name } = splitKey(key);
      keepSlices(deps.cluster, { namespace, name, manager: MANAGER }, mirrored(deps.cluster, namespace, name));
      return undefined;
    },
  });
}

function mirrored(cluster: Cluster, namespace: string, name: string): NewSlice[] {
  const service = cluster.get<Service>("services", name, namespace);
  const endpoints = cluster.get<StoredEndpoints>("endpoints", name, namespace);
  if (!service || service.spec.selector || !endpoints || endpoints.metadata.labels?.[SKIP] === "true") return [];
  return (endpoints.subsets ?? []).flatMap((subset, index) =>
    ["IPv4", "IPv6"].flatMap((family) => {
      const found = endpointsOf(subset, family);
      return found.length ? [sliceOf(endpoints, { family, index, ports: subset.ports ?? [], endpoints: found })] : [];
    }),
  );
}

function endpointsOf(subset: EndpointSubset, family: string): Endpoint[] {
  const read = (addresses: readonly EndpointAddress[] | undefined, ready: boolean) =>
    (addresses ?? [])
      .filter(({ ip }) => ip.includes(":") === (family === "IPv6"))
      .map(({ ip, ...about }) => ({ addresses: [ip], conditions: { ready }, ...about }));
  return [...read(subset.addresses, true), ...read(subset.notReadyAddresses, false)];
}

function sliceOf(
  { apiVersion, kind, metadata }: StoredEndpoints,
  slice: { readonly family: string; readonly index: number } & Pick<NewSlice, "ports" | "endpoints">,
): NewSlice {
  const { family, index, ports, endpoints } = slice;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${metadata.name}-${hashOf([family, index, metadata.uid], 5)}`,
      namespace: metadata.namespace,
      labels: { ...metadata.labels, [SERVICE_NAME]: metadata.name, [MANAGED_BY]: MANAGER },
      ownerReferences: [controllerReference({ apiVersion, kind, metadata })],
    },
    addressType: family,
    ports: ports.map((port) => ({ ...port, name: port.name ?? "" })),
    endpoints,
  };
}
