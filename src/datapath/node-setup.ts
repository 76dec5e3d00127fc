import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Change, Netlink } from "#netlink/netlink.ts";
import type { SelfNode } from "#node/self.ts";
import type { Logger } from "#runtime/logger.ts";
import type { IpAddress } from "#types/addr.ts";
import { hostPrefix } from "#types/prefix.ts";

/** The veth pair whose one end has the router's address: what pods have as their gateway and the node as its own in the pod network. */
export const HOST_DEVICE = "cilium_host";
const NET_DEVICE = "cilium_net";

/** Packets that go to the L7 proxy: their mark leads to a table that delivers them here. */
const PROXY_TABLE = 2004;
const PROXY_RULE = { priority: 9, mark: 0x200, mask: 0xf00, table: PROXY_TABLE } as const;

/** What the node's own stack must be like. Idempotent; throws `NetlinkError` when a device or route cannot be made. */
export function setUpNode(
  { netlink, log }: { readonly netlink: Netlink; readonly log: Logger },
  self: SelfNode,
  config: { readonly ipv4: boolean; readonly ipv6: boolean; readonly routers: readonly IpAddress[] },
): void {
  for (const [name, value] of sysctls(self, config)) setSysctl(log, name, value);
  if (netlink.link(HOST_DEVICE) === undefined) netlink.createVeth({ name: HOST_DEVICE, up: true, peer: { name: NET_DEVICE } });
  const [host, net] = [netlink.link(HOST_DEVICE), netlink.link(NET_DEVICE)];
  if (!host || !net) throw new Error(`device ${HOST_DEVICE} is not there after it was made`);
  for (const device of [HOST_DEVICE, NET_DEVICE]) setSysctl(log, `net/ipv4/conf/${device}/rp_filter`, "0");
  netlink.apply([
    { set: "link", index: net.index, up: true },
    { set: "link", index: host.index, up: true },
    ...config.routers.map((address): Change => ({ set: "address", index: host.index, address: hostPrefix(address) })),
    ...proxyRoutes(netlink, config),
  ]);
}

function proxyRoutes(netlink: Netlink, config: { readonly ipv4: boolean; readonly ipv6: boolean }): Change[] {
  const loopback = netlink.link("lo")?.index ?? 1;
  const families = ([4, 6] as const).filter((family) => (family === 4 ? config.ipv4 : config.ipv6));
  return families.flatMap((family): Change[] => [
    { set: "rule", family, ...PROXY_RULE },
    { set: "route", to: family === 4 ? "0.0.0.0/0" : "::/0", index: loopback, table: PROXY_TABLE, type: "local" },
  ]);
}

function sysctls(self: SelfNode, config: { readonly ipv4: boolean; readonly ipv6: boolean }): [string, string][] {
  const v4: [string, string][] = [
    ["net/ipv4/ip_forward", "1"],
    ["net/ipv4/conf/all/forwarding", "1"],
    ["net/ipv4/conf/all/rp_filter", "0"],
    ["net/ipv4/conf/default/rp_filter", "0"],
    [`net/ipv4/conf/${self.device.name}/rp_filter`, "0"],
    ["net/ipv4/conf/all/accept_local", "1"],
  ];
  const v6: [string, string][] = [
    ["net/ipv6/conf/all/disable_ipv6", "0"],
    ["net/ipv6/conf/all/forwarding", "1"],
    ["net/ipv6/conf/default/accept_dad", "0"],
  ];
  return [...(config.ipv4 ? v4 : []), ...(config.ipv6 ? v6 : [])];
}

/** A setting that is refused is said, and not fatal: a container may have it read-only with the right value. */
function setSysctl(log: Logger, name: string, value: string): void {
  const path = `/proc/sys/${name}`;
  if (!existsSync(path)) return;
  try {
    if (readFileSync(path, "utf8").trim() !== value) writeFileSync(path, value);
  } catch (thrown) {
    log.warn("sysctl not set", { name, value, error: String(thrown) });
  }
}
