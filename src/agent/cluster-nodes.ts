import type { Claim, Ipcache } from "#ipcache/ipcache.ts";
import type { ReflectorHandler } from "#k8s/reflector.ts";
import type { CiliumNode, EndpointSlice, KubeObject, Node } from "#k8s/types.ts";
import { labelSet } from "#labels/label-set.ts";
import { type ClusterNode, clusterNode, createNodeTable } from "#node/node.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hostPrefix } from "#types/prefix.ts";
import type { Identities } from "./identities.ts";
import type { Prefixes } from "./prefixes.ts";

export interface ClusterNodes {
  readonly table: Table<ClusterNode>;
  /** Our Node and CiliumNode objects as last heard. */
  self(): { readonly node: Node | undefined; readonly ciliumNode: CiliumNode | undefined };
  readonly nodeHandler: ReflectorHandler<Node>;
  readonly ciliumNodeHandler: ReflectorHandler<CiliumNode>;
  /** EndpointSlices of `default/kubernetes`: where the API servers are. */
  setApiServers(slices: readonly EndpointSlice[]): void;
  /** Nodes → ipcache: run before the ipcache's reconciler. */
  readonly step: Step;
}

export interface ClusterNodesDeps {
  readonly db: Database;
  readonly ipcache: Ipcache;
  readonly identities: Identities;
  readonly prefixes: Prefixes;
}

/** All nodes: their table, and their claims on addresses. */
export function createClusterNodes(deps: ClusterNodesDeps, config: { readonly self: string }): ClusterNodes {
  const { db, ipcache } = deps;
  const table = createNodeTable(db);
  const nodes = new Map<string, Node>();
  const ciliumNodes = new Map<string, CiliumNode>();
  let apiServers: readonly IpAddress[] = [];
  const changes = table.observe();
  let stale = new Set<string>();
  let wake = () => {};

  const refresh = (name: string) => {
    const [node, ciliumNode] = [nodes.get(name), ciliumNodes.get(name)];
    if (!node && !ciliumNode) {
      table.delete(name);
      return;
    }
    const row = clusterNode(name, node, ciliumNode);
    if (JSON.stringify(table.get(name)) !== JSON.stringify(row)) table.set(row);
  };
  const claims = createNodeClaims(ipcache, config.self, () => apiServers);
  const handler = <T extends KubeObject>(objects: Map<string, T>): ReflectorHandler<T> => ({
    replace(list) {
      db.write(() => {
        const gone = new Set(objects.keys());
        for (const object of list) {
          gone.delete(object.metadata.name);
          objects.set(object.metadata.name, object);
          refresh(object.metadata.name);
        }
        for (const name of gone) {
          objects.delete(name);
          refresh(name);
        }
      });
    },
    upsert(object) {
      objects.set(object.metadata.name, object);
      refresh(object.metadata.name);
    },
    remove(object) {
      objects.delete(object.metadata.name);
      refresh(object.metadata.name);
    },
  });
  const placeApiServers = () => {
    const ofNodes = new Set([...table.list()].flatMap((node) => node.internalIps));
    const ours = table.get(config.self)?.internalIps ?? [];
    const isHere = apiServers.some((address) => ours.includes(address));
    deps.identities.relabelReserved(
      reservedIdentity.host,
      labelSet(isHere ? ["reserved:host", "reserved:kube-apiserver"] : ["reserved:host"]),
    );
    deps.prefixes.setApiServers(apiServers.filter((address) => !ofNodes.has(address)));
  };
  return {
    table,
    self: () => ({ node: nodes.get(config.self), ciliumNode: ciliumNodes.get(config.self) }),
    nodeHandler: handler(nodes),
    ciliumNodeHandler: handler(ciliumNodes),
    setApiServers(slices) {
      const found = slices.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses));
      const next = found.map(parseAddress).filter((address) => address !== undefined);
      if (next.join() === apiServers.join()) return;
      apiServers = next;
      stale = new Set([...table.list()].map(({ name }) => name));
      wake();
    },
    step: {
      name: "nodes",
      onWork(fn) {
        wake = fn;
        changes.onReady(fn);
      },
      run() {
        for (const { key } of changes.take()) stale.add(String(key));
        if (stale.size === 0) return;
        db.write(() => {
          for (const name of stale) claims.set(name, table.get(name));
          stale = new Set();
          placeApiServers();
        });
      },
    },
  };
}

type NodeClaim = Pick<Claim, "prefix" | "source" | "identity" | "nodeIp">;

/** What a node's addresses and pod networks are in the ipcache. */
function createNodeClaims(ipcache: Ipcache, self: string, apiServers: () => readonly IpAddress[]) {
  const claimed = new Map<string, readonly NodeClaim[]>();
  const identityOf = (node: ClusterNode): NumericIdentity => {
    if (node.name === self) return reservedIdentity.host;
    return node.internalIps.some((address) => apiServers().includes(address))
      ? reservedIdentity.kubeApiserver
      : reservedIdentity.remoteNode;
  };
  const claimsOf = (node: ClusterNode): NodeClaim[] => {
    const nodeIp = node.name === self ? undefined : node.internalIps[0];
    const identity = identityOf(node);
    return [
      ...node.internalIps.map((address): NodeClaim => ({ prefix: hostPrefix(address), identity, source: "node", nodeIp: undefined })),
      ...node.routerIps.map((address): NodeClaim => ({ prefix: hostPrefix(address), identity, source: "node", nodeIp })),
      // A pod we have not heard of yet is not the world: what is allowed to the world is not allowed to it.
      ...node.podCidrs.map((prefix): NodeClaim => ({ prefix, identity: reservedIdentity.unmanaged, source: "pod-cidr", nodeIp })),
    ];
  };
  return {
    set(name: string, node: ClusterNode | undefined) {
      const next = node ? claimsOf(node) : [];
      for (const claim of next) ipcache.claim({ ...claim, owner: name });
      const kept = new Set(next.map(({ prefix, source }) => `${source} ${prefix}`));
      for (const old of claimed.get(name) ?? []) if (!kept.has(`${old.source} ${old.prefix}`)) ipcache.release({ ...old, owner: name });
      if (next.length > 0) claimed.set(name, next);
      else claimed.delete(name);
    },
  };
}
