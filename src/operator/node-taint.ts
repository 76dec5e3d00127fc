import { type Cluster, isConflict } from "#k8s/client.ts";
import { NODES } from "#k8s/resources.ts";
import type { Node, Pod } from "#k8s/types.ts";

/** Set on new nodes by whoever provisions them; keeps pods away until the agent can serve them. */
export const AGENT_NOT_READY_TAINT = "node.cilium.io/agent-not-ready";

/** Names of the nodes whose agent pod is ready. */
export function nodesWithReadyAgent(pods: Iterable<Pod>): Set<string> {
  const ready = [...pods].filter(
    (pod) =>
      pod.metadata.labels?.["k8s-app"] === "cilium" &&
      pod.metadata.deletionTimestamp === undefined &&
      pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
  );
  return new Set(ready.flatMap((pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : [])));
}

/** Takes the taint off a node. Does nothing when it has none; a conflict means that the next event tries again. */
export async function removeTaint(cluster: Cluster, node: Node): Promise<boolean> {
  const taints = node.spec?.taints ?? [];
  const kept = taints.filter(({ key }) => key !== AGENT_NOT_READY_TAINT);
  if (kept.length === taints.length) return false;
  try {
    await cluster.update(NODES, { ...node, spec: { ...node.spec, taints: kept } });
    return true;
  } catch (thrown) {
    if (isConflict(thrown)) return false;
    throw thrown;
  }
}
