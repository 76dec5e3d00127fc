import { existsSync } from "node:fs";
import { join } from "node:path";
import { addr16Text } from "#datapath/addr16.ts";
import { collectTranslations } from "#datapath/conntrack.ts";
import { writeLbNode } from "#datapath/lb-node.ts";
import { type Datapath, openDatapath } from "#datapath/loader.ts";
import { setUpNode } from "#datapath/node-setup.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { cidrLabels } from "#identity/cidr.ts";
import { createPool, type Pool } from "#ipam/pool.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { Netlink } from "#netlink/netlink.ts";
import { openNetlink } from "#netlink/socket.ts";
import type { SelfNode } from "#node/self.ts";
import { FlagError } from "#runtime/flags.ts";
import type { Logger } from "#runtime/logger.ts";
import { monotonicNs } from "#sys/clock.ts";
import { findCgroup2 } from "#sys/mount.ts";
import { type Netns, netnsCookie } from "#sys/netns.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { identityScope, NumericIdentity } from "#types/identity.ts";
import { type Prefix, prefixHas, prefixOf } from "#types/prefix.ts";
import { accelerate } from "./acceleration.ts";
import type { AgentConfig } from "./config.ts";
import { lbSettings } from "./lb-settings.ts";
import type { AgentState } from "./state.ts";

/** What the agent holds of the kernel. Disposing closes handles only. */
export interface Kernel extends Disposable {
  readonly bpf: ReturnType<typeof openBpf>;
  readonly netlink: Netlink;
  /** Another one, inside a pod's namespace. */
  readonly openNetlink: (options: { readonly netns: Netns }) => Netlink;
  readonly datapath: Datapath;
  readonly pools: readonly Pool[];
  readonly routers: readonly IpAddress[];
  readonly mtu: number;
  /** Tells the programs the node's own addresses: once before they are attached, and again, since others may change the map. */
  writeNode(): void;
  /** Programs on the node's device and socket hooks on its cgroup. */
  attachNode(): void;
  /** The node's addresses that node ports are reached at. */
  nodePortAddresses(): IpAddress[];
  /** Gives the address blocks of policies the numbers that the kernel already has for them. */
  restoreIdentities(state: AgentState): void;
  /** Lets go of those that no rule has asked for since. */
  releaseRestored(state: AgentState): void;
  /** Forgets translations of service connections that are over. */
  collectTranslations(): Promise<void>;
}

export const MONITOR_LEVELS = ["none", "lowest", "low", "medium", "maximum"] as const;

const CGROUP_DIRECTORY = "/run/cilium/cgroupv2";

/** Loads the datapath and sets the node's stack up. Throws `DatapathError`, `VerifierError`, `KernelError` or `NetlinkError`. */
export function openKernel({ log }: { readonly log: Logger }, config: AgentConfig, self: SelfNode): Kernel {
  const bpf = openBpf();
  const netlink = openNetlink();
  const level = MONITOR_LEVELS.indexOf(config["monitor-aggregation"] as (typeof MONITOR_LEVELS)[number]);
  if (level < 0) throw new FlagError("bad-flag", `--monitor-aggregation: allowed are ${MONITOR_LEVELS.join(", ")}`);
  const settings = lbSettings(config);
  const datapath = openDatapath(
    { bpf, log: log.child("datapath") },
    {
      bpfRoot: config["bpf-root"],
      http: config["enable-kernel-http"],
      acceleration: settings.enabled && settings.acceleration !== "disabled",
      objects: config["bpf-lib-dir"] || join(import.meta.dirname, "..", "..", "bpf"),
      constants: {
        nodeIfindex: self.device.index,
        enableIpv4: config["enable-ipv4"] ? 1 : 0,
        enableIpv6: config["enable-ipv6"] ? 1 : 0,
        monitorAggregation: level,
        eventsDrop: config["bpf-events-drop-enabled"] ? 1 : 0,
        eventsPolicyVerdict: config["bpf-events-policy-verdict-enabled"] ? 1 : 0,
        eventsTrace: config["bpf-events-trace-enabled"] ? 1 : 0,
        enableNodeport: settings.enabled ? 1 : 0,
        enableHttp: config["enable-kernel-http"] ? 1 : 0,
        sockHostOnly: settings.sockets === "host" ? 1 : 0,
        nodeportMin: settings.nodePorts.first,
        nodeportMax: settings.nodePorts.last,
        monitorInterval: Math.max(1, Math.round(config["monitor-aggregation-interval"] / 1000)),
      },
    },
  );
  const families = [...(config["enable-ipv4"] ? [4] : []), ...(config["enable-ipv6"] ? [6] : [])];
  const pools = families.map((family) => createPool(self.podCidrs.filter((prefix) => prefix.includes(":") === (family === 6))));
  const routers = pools.map((pool) => pool.router).filter((address) => address !== undefined);
  setUpNode({ netlink, log: log.child("node") }, self, { ipv4: config["enable-ipv4"], ipv6: config["enable-ipv6"], routers });
  const { maps, attachments } = datapath;
  const restored: LabelSet[] = [];
  return {
    bpf,
    netlink,
    openNetlink,
    datapath,
    pools,
    routers,
    mtu: config.mtu || self.device.mtu,
    writeNode() {
      writeLbNode(maps.lbNode, { ipv4: self.ipv4, ipv6: self.ipv6, loopback: settings.loopback, netnsCookie: netnsCookie() });
    },
    attachNode() {
      attachments.device(self.device.name, self.device.index);
      const { name, index } = self.device;
      const isVeth = netlink.links().some((link) => link.index === index && link.kind === "veth");
      accelerate({ log, device: { name, isVeth }, put: (mode) => attachments.driver(name, index, mode) }, settings.acceleration);
      if (config["enable-kernel-http"]) attachments.http(cgroupRoot(config));
      else stopHttp(datapath);
      if (settings.sockets === "none") attachments.removeCgroup();
      else attachments.cgroup(cgroupRoot(config));
    },
    nodePortAddresses: () => nodePortAddresses(netlink, config, self, settings.nodePortAddresses),
    restoreIdentities({ identities, families: enabled }) {
      const exact = [...maps.ipcache.entries()].map(([key, { secId }]) => ({ address: addr16Text(key), prefixlen: 128, secId }));
      const wider = [...maps.ipcacheLpm.entries()].map(([key, { secId }]) => ({
        address: addr16Text(key.address),
        prefixlen: key.prefixlen,
        secId,
      }));
      for (const { address, prefixlen, secId } of [...exact, ...wider]) {
        const id = NumericIdentity(secId);
        if (identityScope(id) !== "local-cidr") continue;
        const labels = cidrLabels(prefixOf(address, address.includes(":") ? prefixlen : prefixlen - 96), enabled);
        if (identities.restoreLocal(id, labels)) restored.push(labels);
      }
    },
    releaseRestored({ identities }) {
      for (const labels of restored.splice(0)) identities.releaseLocal(labels);
    },
    async collectTranslations() {
      const now = () => Number(monotonicNs() / 1_000_000_000n);
      const services = await collectTranslations(maps.lbConntrack, now);
      const nat = await collectTranslations(maps.nat, now);
      log.debug("translations collected", { services, nat });
    },
    [Symbol.dispose]() {
      datapath[Symbol.dispose]();
      netlink.close();
    },
  };
}

/** Connections whose requests the kernel has decided so far end with their next one; new ones are the proxy's. */
function stopHttp({ maps, attachments }: Datapath): void {
  attachments.removeHttp();
  maps.httpRules.deleteMany([...maps.httpRules.keys()]);
}

/** Addresses of the devices that lead outside, those that only neighbours know left out. */
function nodePortAddresses(netlink: Netlink, config: AgentConfig, self: SelfNode, blocks: readonly Prefix[]): IpAddress[] {
  const devices = new Set(config.devices.length > 0 ? config.devices : [self.device.name]);
  const indexes = new Set(netlink.links().flatMap(({ name, index }) => (devices.has(name) ? [index] : [])));
  const found = netlink
    .addresses()
    .flatMap(({ index, address }) => (indexes.has(index) ? (parseAddress(address.split("/")[0] ?? "") ?? []) : []));
  const enabled = found.filter((ip) => (ip.includes(":") ? config["enable-ipv6"] && !ip.startsWith("fe80:") : config["enable-ipv4"]));
  return blocks.length === 0 ? enabled : enabled.filter((ip) => blocks.some((block) => prefixHas(block, ip)));
}

/** The cgroup v2 directory of the node. Throws `FlagError` when there is none. */
export function cgroupRoot(config: AgentConfig): string {
  if (config["cgroup-root"] !== "") return config["cgroup-root"];
  if (existsSync(join(CGROUP_DIRECTORY, "cgroup.procs"))) return CGROUP_DIRECTORY;
  const found = findCgroup2();
  if (found === undefined) throw new FlagError("bad-flag", "no cgroup v2 file system found; mount one and name it with --cgroup-root");
  return found;
}
