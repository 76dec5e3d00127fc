import type { Netlink } from "#netlink/netlink.ts";
import type { ClusterNode } from "#node/node.ts";
import { type NodeRoute, routesTo } from "#node/routes.ts";
import type { SyncTarget } from "#reconciler/reconciler.ts";

/** Routes to the pods of other nodes, through their node addresses. Used by the node's own stack; pods' packets go by the ipcache. */
export function createRouteTarget(netlink: Netlink, self: { readonly name: string; readonly device: number }): SyncTarget<ClusterNode> {
  const changes = (set: "route" | "no-route", routes: readonly NodeRoute[]) =>
    routes.map(({ to, via }) => ({ set, to, via, index: self.device }));
  return {
    update(node, previous) {
      if (node.name === self.name) return;
      const kept = new Set(routesTo(node).map(({ to, via }) => `${to} ${via}`));
      const old = previous ? routesTo(previous).filter(({ to, via }) => !kept.has(`${to} ${via}`)) : [];
      netlink.apply(changes("no-route", old));
      netlink.apply(changes("route", routesTo(node)));
    },
    remove(node) {
      if (node.name !== self.name) netlink.apply(changes("no-route", routesTo(node)));
    },
  };
}
