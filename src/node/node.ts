import type { Database } from "#statedb/database.ts";
import type { WritableTable } from "#statedb/table.ts";
import { addressFamily, type IpAddress, parseAddress } from "#types/addr.ts";
import { type Prefix, parsePrefix } from "#types/prefix.ts";

/** A node of the cluster. */
export interface ClusterNode {
  readonly name: string;
  /** Addresses other nodes reach it at. */
  readonly internalIps: readonly IpAddress[];
  /** Its router addresses inside its pod CIDRs. */
  readonly routerIps: readonly IpAddress[];
  readonly podCidrs: readonly Prefix[];
}

/** The table of all nodes, this one included. */
export function createNodeTable(db: Database): WritableTable<ClusterNode> {
  return db.createTable<ClusterNode>({
    name: "nodes",
    key: (row) => row.name,
    columns: {
      NAME: (row) => row.name,
      "INTERNAL IP": (row) => row.internalIps,
      ROUTER: (row) => row.routerIps,
      "POD CIDR": (row) => row.podCidrs,
    },
  });
}

interface CiliumNodeLike {
  readonly spec?: {
    readonly addresses?: readonly { readonly type: string; readonly ip: string }[];
    readonly ipam?: { readonly podCIDRs?: readonly string[] };
  };
}

interface NodeLike {
  readonly spec?: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly addresses?: readonly { readonly type: string; readonly address: string }[] };
}

/** One node of its Node and CiliumNode objects; what the CiliumNode says goes before. Text that is no address is left out. */
export function clusterNode(name: string, node: NodeLike | undefined, ciliumNode: CiliumNodeLike | undefined): ClusterNode {
  const spoken = ciliumNode?.spec?.addresses ?? [];
  const of = (type: string) => spoken.filter((address) => address.type === type).map((address) => address.ip);
  const kubernetes = (node?.status?.addresses ?? []).filter(({ type }) => type === "InternalIP").map(({ address }) => address);
  const internal = of("InternalIP");
  const cidrs = ciliumNode?.spec?.ipam?.podCIDRs ?? [];
  return {
    name,
    internalIps: addresses(internal.length > 0 ? internal : kubernetes),
    routerIps: addresses(of("CiliumInternalIP")),
    podCidrs: prefixes(cidrs.length > 0 ? cidrs : (node?.spec?.podCIDRs ?? (node?.spec?.podCIDR ? [node.spec.podCIDR] : []))),
  };
}

function addresses(texts: readonly string[]): IpAddress[] {
  return texts.map(parseAddress).filter((address) => address !== undefined);
}

function prefixes(texts: readonly string[]): Prefix[] {
  return texts.map(parsePrefix).filter((prefix) => prefix !== undefined);
}

/** The node's first address of the family. */
export function internalIp(node: Pick<ClusterNode, "internalIps">, family: 4 | 6): IpAddress | undefined {
  return node.internalIps.find((address) => addressFamily(address) === family);
}
