import { addressText } from "#sys/sockaddr.ts";
import { FRA, IFA, IFF_UP, IFLA, IFLA_INFO, MAIN_TABLE, NDA, ROUTE_SCOPE, ROUTE_TYPE, RTA } from "./encode.ts";
import { attributes, textOf } from "./message.ts";
import type { Address, Link, Neighbour, Route, RouteScope, RouteType, Rule } from "./netlink.ts";

const NUD_PERMANENT = 0x80;

export function decodeLink(body: Buffer): Link {
  const found = attributes(body, 16);
  const info = attributes(found.get(IFLA.LINKINFO) ?? Buffer.alloc(0), 0);
  return {
    index: body.readInt32LE(4),
    name: textOf(found.get(IFLA.IFNAME)),
    kind: textOf(info.get(IFLA_INFO.KIND)),
    mac: macText(found.get(IFLA.ADDRESS)),
    mtu: number(found.get(IFLA.MTU)) ?? 0,
    up: (body.readUInt32LE(8) & IFF_UP) !== 0,
    peerIndex: number(found.get(IFLA.LINK)) ?? 0,
    master: number(found.get(IFLA.MASTER)) ?? 0,
  };
}

export function decodeAddress(body: Buffer): Address {
  const found = attributes(body, 8);
  const address = found.get(IFA.LOCAL) ?? found.get(IFA.ADDRESS) ?? Buffer.alloc(4);
  return { index: body.readUInt32LE(4), address: `${addressText(address)}/${body.readUInt8(1)}` };
}

export function decodeRoute(body: Buffer): Route {
  const found = attributes(body, 12);
  const destination = found.get(RTA.DST) ?? Buffer.alloc(body.readUInt8(0) === 2 ? 4 : 16);
  return {
    to: `${addressText(destination)}/${body.readUInt8(1)}`,
    via: address(found.get(RTA.GATEWAY)),
    index: number(found.get(RTA.OIF)),
    source: address(found.get(RTA.PREFSRC)),
    table: number(found.get(RTA.TABLE)) ?? body.readUInt8(4),
    type: nameOf(ROUTE_TYPE, body.readUInt8(7)) ?? ("other" satisfies RouteType),
    scope: scopeOf(body.readUInt8(6)),
  };
}

export function decodeNeighbour(body: Buffer): Neighbour | undefined {
  const found = attributes(body, 12);
  const [to, mac] = [address(found.get(NDA.DST)), found.get(NDA.LLADDR)];
  if (to === undefined || mac === undefined) return undefined;
  return { index: body.readInt32LE(4), address: to, mac: macText(mac), permanent: (body.readUInt16LE(8) & NUD_PERMANENT) !== 0 };
}

export function decodeRule(body: Buffer): Rule {
  const found = attributes(body, 12);
  const mark = number(found.get(FRA.FWMARK));
  return {
    family: body.readUInt8(0) === 2 ? 4 : 6,
    priority: number(found.get(FRA.PRIORITY)) ?? 0,
    mark,
    mask: mark === undefined ? undefined : number(found.get(FRA.FWMASK)),
    table: number(found.get(FRA.TABLE)) ?? (body.readUInt8(4) || MAIN_TABLE),
  };
}

function number(value: Buffer | undefined): number | undefined {
  return value?.readUInt32LE(0);
}

function address(value: Buffer | undefined): string | undefined {
  return value && addressText(value);
}

function macText(value: Buffer | undefined): string {
  return value ? [...value].map((byte) => byte.toString(16).padStart(2, "0")).join(":") : "";
}

function nameOf<N extends string>(names: Readonly<Record<N, number>>, value: number): N | undefined {
  return (Object.keys(names) as N[]).find((name) => names[name] === value);
}

function scopeOf(value: number): RouteScope {
  const name = nameOf(ROUTE_SCOPE, value);
  return name === undefined || name === "nowhere" ? "other" : name;
}
