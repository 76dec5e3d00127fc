import { addressFamily, type IpAddress } from "#types/addr.ts";
import { type Prefix, prefixParts } from "#types/prefix.ts";
import { type ClusterNode, internalIp } from "./node.ts";

/** A route of this node to another node's pods. */
export interface NodeRoute {
  readonly to: Prefix;
  readonly via: IpAddress;
}

/** The routes this node needs to a node's pod networks: through that node's own address of the same family. */
export function routesTo(node: ClusterNode): NodeRoute[] {
  return node.podCidrs.flatMap((to) => {
    const via = internalIp(node, prefixParts(to).family);
    return via === undefined || addressFamily(via) !== prefixParts(to).family ? [] : [{ to, via }];
  });
}
