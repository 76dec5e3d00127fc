import { type Cluster, isNotFound } from "./client.ts";
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  CONFIG_MAPS,
  DEPLOYMENTS,
  NAMESPACES,
  type Resource,
  ROLE_BINDINGS,
  ROLES,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "./resources.ts";
import type { KubeObject } from "./types.ts";

const RESOURCES: Readonly<Record<string, Resource<KubeObject>>> = {
  Namespace: NAMESPACES,
  Deployment: DEPLOYMENTS,
  Service: SERVICES,
  ServiceAccount: SERVICE_ACCOUNTS,
  ConfigMap: CONFIG_MAPS,
  ClusterRole: CLUSTER_ROLES,
  ClusterRoleBinding: CLUSTER_ROLE_BINDINGS,
  Role: ROLES,
  RoleBinding: ROLE_BINDINGS,
  CiliumNetworkPolicy: CILIUM_NETWORK_POLICIES,
  CiliumClusterwideNetworkPolicy: CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  ClusterNetworkPolicy: CLUSTER_NETWORK_POLICIES,
} as Readonly<Record<string, Resource<KubeObject>>>;

/** Any object, with its kind. */
export type Manifest = KubeObject & { readonly kind: string };

function resourceOf(object: Manifest): Resource<KubeObject> {
  const resource = RESOURCES[object.kind];
  if (!resource) throw new Error(`cannot apply a ${object.kind}: known are ${Object.keys(RESOURCES).join(", ")}`);
  return resource;
}

/** Server-side apply, object by object; what others own of them is taken over. */
export async function applyAll(cluster: Cluster, objects: readonly Manifest[], fieldManager: string): Promise<Manifest[]> {
  const applied: Manifest[] = [];
  for (const object of objects) {
    const result = await cluster.patch(resourceOf(object), object.metadata, "apply", object, {
      fieldManager,
      force: true,
    });
    applied.push({ ...result, kind: object.kind });
  }
  return applied;
}

/** Deletes what is there of these objects. */
export async function deleteAll(cluster: Cluster, objects: readonly Manifest[]): Promise<void> {
  await Promise.all(
    objects.map((object) =>
      cluster.delete(resourceOf(object), object.metadata).catch((thrown: unknown) => {
        if (!isNotFound(thrown)) throw thrown;
      }),
    ),
  );
}

/** Whether all pods of a Deployment are ready and of its present template. Rejects with a `KubeError` when there is none. */
export async function isComplete(cluster: Cluster, ref: { readonly namespace: string; readonly name: string }): Promise<boolean> {
  const { metadata, spec, status } = (await cluster.get(DEPLOYMENTS, ref)) as {
    metadata: { generation?: number };
    spec?: { replicas?: number };
    status?: { observedGeneration?: number; readyReplicas?: number; updatedReplicas?: number };
  };
  const wanted = spec?.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 1) && status?.readyReplicas === wanted && status.updatedReplicas === wanted
  );
}
