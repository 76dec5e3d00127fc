import { type Cluster, isNotFound } from "./client.ts";
import { CONFIG_MAPS } from "./resources.ts";
import type { KubeObject } from "./types.ts";

const GROUPS = ["CiliumCIDRGroup", "/apis/cilium.io/v2/ciliumcidrgroups"] as const;

const POLICY_PATHS: readonly (readonly [kind: string, path: string])[] = [
  ["CiliumNetworkPolicy", "/apis/cilium.io/v2/ciliumnetworkpolicies"],
  ["CiliumClusterwideNetworkPolicy", "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"],
  ["NetworkPolicy", "/apis/networking.k8s.io/v1/networkpolicies"],
  ["ClusterNetworkPolicy", "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"],
];

const SUBJECT_PATHS: readonly (readonly [kind: string, path: string])[] = [
  ["Pod", "/api/v1/pods"],
  ["Namespace", "/api/v1/namespaces"],
  ["Service", "/api/v1/services"],
  ["EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"],
  ["Node", "/api/v1/nodes"],
  ["CiliumIdentity", "/apis/cilium.io/v2/ciliumidentities"],
  GROUPS,
];

/** All network policies of a cluster, each with its kind. Rejects with `KubeError`. */
export async function policyObjects(cluster: Cluster): Promise<KubeObject[]> {
  return (await Promise.all(POLICY_PATHS.map(([kind, path]) => listAll(cluster, kind, path)))).flat();
}

/** The groups of address blocks that policies name. Rejects with `KubeError`. */
export function groupObjects(cluster: Cluster): Promise<KubeObject[]> {
  return listAll(cluster, ...GROUPS);
}

/** What policies are about: pods, namespaces, services, nodes, identities, and Cilium's settings in `namespace`. Rejects with `KubeError`. */
export async function subjectObjects(cluster: Cluster, namespace: string): Promise<KubeObject[]> {
  const [lists, config] = await Promise.all([
    Promise.all(SUBJECT_PATHS.map(([kind, path]) => listAll(cluster, kind, path))),
    configMap(cluster, namespace),
  ]);
  return [...lists.flat(), ...config];
}

/** All objects of a kind; none when the cluster does not know the kind. */
async function listAll(cluster: Cluster, kind: string, path: string): Promise<KubeObject[]> {
  try {
    const { items } = (await cluster.json("GET", path)) as { items?: KubeObject[] | null };
    return (items ?? []).map((item) => ({ ...item, kind }));
  } catch (thrown) {
    if (isNotFound(thrown)) return [];
    throw thrown;
  }
}

async function configMap(cluster: Cluster, namespace: string): Promise<KubeObject[]> {
  try {
    return [{ ...(await cluster.get(CONFIG_MAPS, { namespace, name: "cilium-config" })), kind: "ConfigMap" }];
  } catch (thrown) {
    if (isNotFound(thrown)) return [];
    throw thrown;
  }
}
