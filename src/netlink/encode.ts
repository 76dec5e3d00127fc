import { addressBytes } from "#sys/sockaddr.ts";
import { type MessageWriter, NLM } from "./message.ts";
import type { AddressChange, Change, LinkChange, NeighbourChange, RouteChange, RuleChange, VethRequest } from "./netlink.ts";

/** Message types (linux/rtnetlink.h). */
export const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddr: 20,
  delAddr: 21,
  getAddr: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeigh: 28,
  delNeigh: 29,
  getNeigh: 30,
  newRule: 32,
  delRule: 33,
  getRule: 34,
} as const;

export const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, LINK: 5, MASTER: 10, LINKINFO: 18, NET_NS_FD: 28 } as const;
export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
const VETH_INFO_PEER = 1;
export const IFA = { ADDRESS: 1, LOCAL: 2 } as const;
export const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, METRICS: 8, TABLE: 15 } as const;
const RTAX_MTU = 2;
export const NDA = { DST: 1, LLADDR: 2 } as const;
export const FRA = { PRIORITY: 6, FWMARK: 10, TABLE: 15, FWMASK: 16 } as const;

export const IFF_UP = 1;
export const AF = { 4: 2, 6: 10 } as const;
export const MAIN_TABLE = 254;
const RTPROT_STATIC = 4;
const RTNH_F_ONLINK = 4;
const NUD_PERMANENT = 0x80;
const IFA_F_NODAD = 2;
export const ROUTE_TYPE = { unicast: 1, local: 2, blackhole: 6, unreachable: 7 } as const;
export const ROUTE_SCOPE = { universe: 0, link: 253, host: 254, nowhere: 255 } as const;
const FR_ACT_TO_TBL = 1;

/** One message for one change. */
export function writeChange(writer: MessageWriter, change: Change): void {
  switch (change.set) {
    case "link":
      writeLink(writer, change);
      break;
    case "address":
    case "no-address":
      writeAddress(writer, change);
      break;
    case "route":
    case "no-route":
      writeRoute(writer, change);
      break;
    case "neighbour":
    case "no-neighbour":
      writeNeighbour(writer, change);
      break;
    case "rule":
    case "no-rule":
      writeRule(writer, change);
  }
}

/** The errno that means the change is as wanted already. */
export function alreadySo(change: Change): readonly string[] {
  if (change.set === "link") return [];
  return change.set.startsWith("no-") ? ["ENOENT", "ESRCH", "EADDRNOTAVAIL", "ENODEV"] : ["EEXIST"];
}

export function writeVeth(writer: MessageWriter, { name, mtu, mac, up, peer }: VethRequest): void {
  writer.begin(RTM.newLink, NLM.ACK | NLM.CREATE | NLM.EXCL, ifinfomsg(0, up ? IFF_UP : 0, up ? IFF_UP : 0));
  writeLinkAttributes(writer, { name, mtu, mac });
  writer.nest(IFLA.LINKINFO, () => {
    writer.text(IFLA_INFO.KIND, "veth");
    writer.nest(IFLA_INFO.DATA, () =>
      writer.nest(
        VETH_INFO_PEER,
        () => {
          writeLinkAttributes(writer, peer);
          if (peer.netns) writer.u32(IFLA.NET_NS_FD, peer.netns.fd);
        },
        ifinfomsg(0, 0, 0),
      ),
    );
  });
}

/** RTM_GETLINK or RTM_DELLINK of one link. */
export function writeLinkRequest(writer: MessageWriter, type: number, link: number | string, flags = 0): void {
  writer.begin(type, flags, ifinfomsg(typeof link === "number" ? link : 0, 0, 0));
  if (typeof link === "string") writer.text(IFLA.IFNAME, link);
}

export function macBytes(mac: string): Buffer {
  const bytes = Buffer.from(mac.replaceAll(":", ""), "hex");
  if (bytes.length !== 6) throw new TypeError(`"${mac}" is not a MAC address`);
  return bytes;
}

export function ifinfomsg(index: number, flags: number, mask: number): Buffer {
  const fixed = Buffer.alloc(16);
  fixed.writeInt32LE(index, 4);
  fixed.writeUInt32LE(flags, 8);
  fixed.writeUInt32LE(mask, 12);
  return fixed;
}

function writeLinkAttributes(
  writer: MessageWriter,
  link: { readonly name?: string | undefined; readonly mtu?: number | undefined; readonly mac?: string | undefined },
): void {
  if (link.name !== undefined) writer.text(IFLA.IFNAME, link.name);
  if (link.mtu !== undefined) writer.u32(IFLA.MTU, link.mtu);
  if (link.mac !== undefined) writer.bytes(IFLA.ADDRESS, macBytes(link.mac));
}

function writeLink(writer: MessageWriter, change: LinkChange): void {
  const flags = change.up === true ? IFF_UP : 0;
  writer.begin(RTM.newLink, NLM.ACK, ifinfomsg(change.index ?? 0, flags, change.up === undefined ? 0 : IFF_UP));
  // Without an index the name finds the link; with one it renames it.
  const name = change.index === undefined ? change.name : change.rename;
  if (change.index === undefined && change.rename !== undefined) throw new TypeError("renaming a link takes its index");
  writeLinkAttributes(writer, { name, mtu: change.mtu, mac: change.mac });
  if (change.master !== undefined) writer.u32(IFLA.MASTER, change.master);
}

/** Address bytes and length of "10.0.0.0/24", or of an address alone. */
export function prefixOf(text: string): { readonly bytes: Buffer; readonly length: number; readonly family: 4 | 6 } {
  const [address = "", length] = text.split("/");
  const bytes = addressBytes(address);
  const bits = bytes.length * 8;
  const wanted = length === undefined ? bits : Number(length);
  if (!Number.isInteger(wanted) || wanted < 0 || wanted > bits || length === "") throw new TypeError(`"${text}" is not a prefix`);
  return { bytes, length: wanted, family: bytes.length === 4 ? 4 : 6 };
}

function writeAddress(writer: MessageWriter, change: AddressChange): void {
  const { bytes, length, family } = prefixOf(change.address);
  const fixed = Buffer.alloc(8);
  fixed.set([AF[family], length, family === 6 ? IFA_F_NODAD : 0, 0]);
  fixed.writeUInt32LE(change.index, 4);
  const adding = change.set === "address";
  writer.begin(adding ? RTM.newAddr : RTM.delAddr, NLM.ACK | (adding ? NLM.CREATE | NLM.EXCL : 0), fixed);
  writer.bytes(IFA.LOCAL, bytes);
  writer.bytes(IFA.ADDRESS, bytes);
}

/** The destination of a route in full: "default" takes its family from the gateway. */
export function routeDestination({ to, via }: RouteChange): string {
  if (to !== "default") return to;
  return via?.includes(":") ? "::/0" : "0.0.0.0/0";
}

function routeScope(change: RouteChange): number {
  if (change.scope !== undefined) return ROUTE_SCOPE[change.scope];
  if (change.type === "local") return ROUTE_SCOPE.host;
  if (change.type !== undefined || change.via !== undefined) return ROUTE_SCOPE.universe;
  return ROUTE_SCOPE.link;
}

function writeRoute(writer: MessageWriter, change: RouteChange): void {
  const { bytes, length, family } = prefixOf(routeDestination(change));
  const adding = change.set === "route";
  const table = change.table ?? MAIN_TABLE;
  const scope = !adding && change.scope === undefined ? ROUTE_SCOPE.nowhere : routeScope(change);
  const type = adding || change.type !== undefined ? ROUTE_TYPE[change.type ?? "unicast"] : 0;
  const fixed = Buffer.alloc(12);
  fixed.set([AF[family], length, 0, 0, table < 256 ? table : 0, adding ? RTPROT_STATIC : 0, family === 6 && !adding ? 0 : scope, type]);
  fixed.writeUInt32LE(change.onlink ? RTNH_F_ONLINK : 0, 8);
  writer.begin(adding ? RTM.newRoute : RTM.delRoute, NLM.ACK | (adding ? NLM.CREATE | NLM.REPLACE : 0), fixed);
  if (length > 0) writer.bytes(RTA.DST, bytes);
  writer.u32(RTA.TABLE, table);
  if (change.via !== undefined) writer.bytes(RTA.GATEWAY, addressBytes(change.via));
  if (change.index !== undefined) writer.u32(RTA.OIF, change.index);
  if (change.source !== undefined) writer.bytes(RTA.PREFSRC, addressBytes(change.source));
  const { mtu } = change;
  if (mtu !== undefined) writer.nest(RTA.METRICS, () => writer.u32(RTAX_MTU, mtu));
}

function writeNeighbour(writer: MessageWriter, change: NeighbourChange): void {
  const address = addressBytes(change.address);
  const adding = change.set === "neighbour";
  const fixed = Buffer.alloc(12);
  fixed.set([AF[address.length === 4 ? 4 : 6]]);
  fixed.writeInt32LE(change.index, 4);
  fixed.writeUInt16LE(NUD_PERMANENT, 8);
  writer.begin(adding ? RTM.newNeigh : RTM.delNeigh, NLM.ACK | (adding ? NLM.CREATE | NLM.REPLACE : 0), fixed);
  writer.bytes(NDA.DST, address);
  if (adding) writer.bytes(NDA.LLADDR, macBytes(change.mac ?? ""));
}

function writeRule(writer: MessageWriter, change: RuleChange): void {
  const adding = change.set === "rule";
  const fixed = Buffer.alloc(12);
  fixed.set([AF[change.family], 0, 0, 0, change.table < 256 ? change.table : 0, 0, 0, FR_ACT_TO_TBL]);
  writer.begin(adding ? RTM.newRule : RTM.delRule, NLM.ACK | (adding ? NLM.CREATE | NLM.EXCL : 0), fixed);
  writer.u32(FRA.PRIORITY, change.priority);
  writer.u32(FRA.TABLE, change.table);
  if (change.mark !== undefined) writer.u32(FRA.FWMARK, change.mark);
  if (change.mask !== undefined) writer.u32(FRA.FWMASK, change.mask);
}
