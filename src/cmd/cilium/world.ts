import type { Cluster } from "#k8s/client.ts";
import type { KubeObject } from "#k8s/types.ts";
import { clusterSource, type SourcedObject } from "#policy/world/objects.ts";
import { createWorld, type World } from "#policy/world/world.ts";
import { readObjects } from "./object-files.ts";

/** Where a policy command takes its world from. */
export interface WorldOptions {
  readonly kubeconfig?: string | undefined;
  /** Namespace that Cilium runs in: its settings are there. */
  readonly namespace: string;
  /** `--policies`: files and directories, or the word `cluster`. */
  readonly policies?: readonly string[] | undefined;
  /** `--pods`: files and directories with everything else, or the word `cluster`. */
  readonly pods?: readonly string[] | undefined;
}

/** Stands for the live cluster where files may be given. */
export const CLUSTER = "cluster";

const POLICY_PATHS: readonly (readonly [kind: string, path: string])[] = [
  ["CiliumNetworkPolicy", "/apis/cilium.io/v2/ciliumnetworkpolicies"],
  ["CiliumClusterwideNetworkPolicy", "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"],
  ["NetworkPolicy", "/apis/networking.k8s.io/v1/networkpolicies"],
  ["ClusterNetworkPolicy", "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"],
];

const OTHER_PATHS: readonly (readonly [kind: string, path: string])[] = [
  ["Pod", "/api/v1/pods"],
  ["Namespace", "/api/v1/namespaces"],
  ["Service", "/api/v1/services"],
  ["EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"],
  ["Node", "/api/v1/nodes"],
  ["CiliumIdentity", "/apis/cilium.io/v2/ciliumidentities"],
  ["CiliumCIDRGroup", "/apis/cilium.io/v2/ciliumcidrgroups"],
];

/**
 * The world that the flags name: without `--policies` and `--pods` the live cluster, with either of them files alone, except where the word
 * `cluster` is given. All files are looked through for every kind of object. Rejects when a file or the cluster cannot be read.
 */
export async function loadWorld(options: WorldOptions): Promise<World> {
  return createWorld(await loadObjects(options));
}

/** The objects of `loadWorld`, for who wants to add some. */
export async function loadObjects(options: WorldOptions): Promise<SourcedObject[]> {
  const { policies = [], pods = [] } = options;
  const live = policies.length === 0 && pods.length === 0;
  const files = readObjects([...policies, ...pods].filter((path) => path !== CLUSTER));
  const fromCluster = await Promise.all([
    live || policies.includes(CLUSTER) ? clusterObjects(options, POLICY_PATHS) : [],
    live || pods.includes(CLUSTER) ? clusterObjects(options, OTHER_PATHS, true) : [],
  ]);
  // Files come last: an object in a file stands for the cluster's object of the same name.
  return [...fromCluster.flat(), ...files];
}

async function clusterObjects(
  options: WorldOptions,
  paths: readonly (readonly [kind: string, path: string])[],
  withConfig = false,
): Promise<SourcedObject[]> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  const lists = await Promise.all(paths.map(([kind, path]) => listAll(cluster, kind, path)));
  const config = withConfig ? await configMap(cluster, options.namespace) : [];
  return [...lists.flat(), ...config].map((object) => ({ object, source: clusterSource }));
}

/** All objects of a kind; none when the cluster does not know the kind. */
async function listAll(cluster: Cluster, kind: string, path: string): Promise<KubeObject[]> {
  const { isNotFound } = await import("#k8s/client.ts");
  try {
    const { items } = (await cluster.json("GET", path)) as { items?: KubeObject[] | null };
    return (items ?? []).map((item) => ({ ...item, kind }));
  } catch (thrown) {
    if (isNotFound(thrown)) return [];
    throw thrown;
  }
}

async function configMap(cluster: Cluster, namespace: string): Promise<KubeObject[]> {
  const { isNotFound } = await import("#k8s/client.ts");
  const { CONFIG_MAPS } = await import("#k8s/resources.ts");
  try {
    return [{ ...(await cluster.get(CONFIG_MAPS, { namespace, name: "cilium-config" })), kind: "ConfigMap" }];
  } catch (thrown) {
    if (isNotFound(thrown)) return [];
    throw thrown;
  }
}
