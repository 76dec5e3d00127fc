import { openNetlink } from "#netlink/socket.ts";
import type { ClusterNode } from "#node/node.ts";
import { NodeError, resolveSelf, type SelfNode } from "#node/self.ts";
import { sleep } from "#runtime/backoff.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Table } from "#statedb/table.ts";
import type { AgentConfig } from "./config.ts";

const RETRY_MS = 200;

/** Waits until the node has its pod CIDRs and its address is on a device. Undefined when the signal aborted. */
export async function waitForSelf(
  { nodes, log, signal }: { readonly nodes: Table<ClusterNode>; readonly log: Logger; readonly signal: AbortSignal },
  config: AgentConfig,
  nodeName: string,
): Promise<SelfNode | undefined> {
  const wanted = { ipv4: config["enable-ipv4"], ipv6: config["enable-ipv6"], devices: config.devices };
  let said = "";
  while (!signal.aborted) {
    try {
      const node = nodes.get(nodeName);
      if (!node) throw new NodeError("no-node", `the API server knows no node ${nodeName}; set K8S_NODE_NAME or --k8s-node-name`);
      return resolveSelf(node, devices(), wanted);
    } catch (thrown) {
      if (!(thrown instanceof NodeError)) throw thrown;
      if (said !== thrown.message) log.warn("waiting to know this node", { reason: thrown.message });
      said = thrown.message;
    }
    await sleep(RETRY_MS, signal);
  }
  return undefined;
}

function devices() {
  const netlink = openNetlink();
  try {
    const addresses = netlink.addresses();
    return netlink.links().map(({ name, index, mtu }) => ({
      name,
      index,
      mtu,
      addresses: addresses.filter((one) => one.index === index).map(({ address }) => address),
    }));
  } finally {
    netlink.close();
  }
}
