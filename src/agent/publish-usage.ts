import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CILIUM_POLICY_USAGES } from "#k8s/resources.ts";
import type { CiliumPolicyUsage, Node } from "#k8s/types.ts";
import type { Usage } from "./usage.ts";

export interface UsagePublisherDeps {
  readonly cluster: Cluster;
  readonly usage: Pick<Usage, "summary">;
  readonly nodeName: string;
  readonly node: () => Node | undefined;
}

/**
 * Writes what this node's policies have decided into one object of its own, and only when something has changed. Nobody but the operator
 * watches these objects, so a cluster's agents do not hear of each other's counts. Rejects with `KubeError`.
 */
export function createUsagePublisher({ cluster, usage, nodeName, node }: UsagePublisherDeps): () => Promise<void> {
  let written: string | undefined;
  return async () => {
    const policies = usage.summary();
    const text = JSON.stringify(policies);
    if (text === written) return;
    const uid = node()?.metadata.uid;
    const ownerReferences = uid ? [{ apiVersion: "v1", kind: "Node", name: nodeName, uid }] : [];
    const object: CiliumPolicyUsage = {
      apiVersion: "cilium.io/v2",
      kind: "CiliumPolicyUsage",
      metadata: { name: nodeName, ownerReferences },
      policies,
    };
    try {
      await put(cluster, object);
      written = text;
    } catch (thrown) {
      // Without the definition, or when somebody else writes too, the next round tries again.
      if (!isNotFound(thrown) && !isConflict(thrown)) throw thrown;
    }
  };
}

async function put(cluster: Cluster, object: CiliumPolicyUsage): Promise<void> {
  const old = await cluster.get(CILIUM_POLICY_USAGES, object.metadata).catch((thrown: unknown) => {
    if (isNotFound(thrown)) return undefined;
    throw thrown;
  });
  if (old)
    await cluster.update(CILIUM_POLICY_USAGES, {
      ...object,
      metadata: { ...object.metadata, resourceVersion: old.metadata.resourceVersion ?? "" },
    });
  else await cluster.create(CILIUM_POLICY_USAGES, object);
}
