import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CILIUM_NODES } from "#k8s/resources.ts";
import type { CiliumNode, Node } from "#k8s/types.ts";
import { ciliumNodeSpec, type SelfNode } from "#node/self.ts";
import type { IpAddress } from "#types/addr.ts";

/** Makes our CiliumNode object say who we are; what others wrote into it stays. Rejects with `KubeError`. */
export async function publishNode(cluster: Cluster, self: SelfNode, routers: readonly IpAddress[], node: Node | undefined): Promise<void> {
  const ownerReferences = node?.metadata.uid ? [{ apiVersion: "v1", kind: "Node", name: self.name, uid: node.metadata.uid }] : [];
  const spec = ciliumNodeSpec(self, routers);
  for (;;) {
    try {
      const old = await cluster.get(CILIUM_NODES, { name: self.name });
      const next: CiliumNode = { ...old, spec: { ...old.spec, addresses: spec.addresses, ipam: { ...old.spec?.ipam, ...spec.ipam } } };
      if (JSON.stringify(next.spec) !== JSON.stringify(old.spec)) await cluster.update(CILIUM_NODES, next);
      return;
    } catch (thrown) {
      if (isNotFound(thrown)) {
        const metadata = { name: self.name, ownerReferences, labels: node?.metadata.labels ?? {} };
        const created = await cluster.create(CILIUM_NODES, { apiVersion: "cilium.io/v2", kind: "CiliumNode", metadata, spec }).then(
          () => true,
          (error: unknown) => (isConflict(error) ? false : Promise.reject(error)),
        );
        if (created) return;
      } else if (!isConflict(thrown)) throw thrown;
    }
  }
}
