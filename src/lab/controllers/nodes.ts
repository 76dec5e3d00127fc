import { type Cluster, unlessGone } from "../cluster.ts";
import type { LabConfig } from "../config.ts";
import type { Node, Pod } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { itself } from "./owned.ts";

const NOT_READY = "node.kubernetes.io/not-ready";

/** Gives nodes their pod CIDRs, taints them while they are not ready, and removes the pods of nodes that are gone. */
export function startNodes(deps: ControllerDeps, config: LabConfig): Disposable {
  return startController(deps, {
    name: "node",
    sources: [itself("nodes")],
    reconcile: (name) => reconcile(deps.cluster, config, name),
  });
}

function reconcile(cluster: Cluster, config: LabConfig, name: string): undefined {
  const node = cluster.get<Node>("nodes", name);
  if (!node) {
    for (const pod of cluster.list<Pod>("pods", { fieldSelector: `spec.nodeName=${name}` }).items) {
      unlessGone(() => cluster.delete("pods", pod.metadata.name, pod.metadata.namespace, { gracePeriodSeconds: 0 }));
    }
    return;
  }
  const plan = config.nodes.find((one) => one.name === name);
  const podCIDRs = node.spec.podCIDRs ?? plan?.podCidrs ?? [];
  const ready = node.status?.conditions?.some((one) => one.type === "Ready" && one.status === "True");
  const before = node.spec.taints ?? [];
  const others = before.filter((taint) => taint.key !== NOT_READY);
  const taints = ready ? others : [...others, before.find((taint) => taint.key === NOT_READY) ?? { key: NOT_READY, effect: "NoSchedule" }];
  const unchanged = node.spec.podCIDR !== undefined && taints.length === before.length;
  if (unchanged || podCIDRs.length === 0) return;
  cluster.patch("nodes", name, undefined, { spec: { podCIDR: podCIDRs[0], podCIDRs, taints } });
}
