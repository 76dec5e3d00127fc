import { type Cluster, isNotFound } from "#k8s/client.ts";
import { CILIUM_ENDPOINTS } from "#k8s/resources.ts";
import { objectKey } from "#k8s/store.ts";
import type { CiliumEndpoint, Pod } from "#k8s/types.ts";

/**
 * Deletes CiliumEndpoints whose pod does not exist any more, such as those of a node that died. One is only taken when it was an
 * orphan in the collection before, too: its pod may just not have been seen yet. Returns the keys of this round's orphans.
 */
export async function collectEndpoints(
  cluster: Cluster,
  endpoints: Iterable<CiliumEndpoint>,
  pods: ReadonlyMap<string, Pod>,
  orphansBefore: ReadonlySet<string>,
): Promise<Set<string>> {
  const orphans = new Set<string>();
  for (const endpoint of endpoints) {
    const key = objectKey(endpoint);
    const pod = pods.get(key);
    const finished = pod?.status?.phase === "Succeeded" || pod?.status?.phase === "Failed";
    if (pod && !finished) continue;
    orphans.add(key);
    if (!orphansBefore.has(key)) continue;
    await cluster.delete(CILIUM_ENDPOINTS, endpoint.metadata).catch((thrown: unknown) => {
      if (!isNotFound(thrown)) throw thrown;
    });
  }
  return orphans;
}
