import type { Cluster } from "#k8s/client.ts";
import { startReflector } from "#k8s/reflector.ts";
import { CILIUM_NODES } from "#k8s/resources.ts";
import type { CiliumNode } from "#k8s/types.ts";
import type { Logger } from "#runtime/logger.ts";
import { formatSocketAddress } from "../server/address.ts";
import { createPeerTable, hubbleServerName, type Peer, type PeerSource } from "../server/peers.ts";

const HUBBLE_PORT = 4244;

/** Peers as the CiliumNode objects of the cluster name them: one agent a node, at its internal address. */
export function ciliumNodeSource(deps: { readonly cluster: Cluster; readonly log: Logger }, clusterName: string): PeerSource {
  return {
    async *watch(signal) {
      const table = createPeerTable();
      const peers = new Map<string, Peer>();
      const put = (node: CiliumNode) => {
        const peer = peerOf(node, clusterName);
        if (peer === undefined) peers.delete(node.metadata.name);
        else peers.set(node.metadata.name, peer);
      };
      const publish = () => table.set([...peers.values()]);
      await using _ = startReflector(
        deps,
        CILIUM_NODES,
        {},
        {
          replace(nodes) {
            peers.clear();
            for (const node of nodes) put(node);
            publish();
          },
          upsert(node) {
            put(node);
            publish();
          },
          remove(node) {
            peers.delete(node.metadata.name);
            publish();
          },
        },
      );
      yield* table.watch(signal);
    },
  };
}

/** A node without an internal address has no agent to talk to yet. */
function peerOf(node: CiliumNode, clusterName: string): Peer | undefined {
  const host = node.spec?.addresses?.find(({ type }) => type === "InternalIP")?.ip;
  if (host === undefined) return undefined;
  const { name } = node.metadata;
  const tlsServerName = hubbleServerName(name, clusterName);
  return {
    name: clusterName === "default" ? name : `${clusterName}/${name}`,
    address: formatSocketAddress({ host, port: HUBBLE_PORT }),
    tlsServerName,
  };
}
