import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { internetChecksum, transportChecksum } from "#packet/checksum.ts";
import type { Packet } from "#packet/headers.ts";
import { parsePacket } from "#packet/parse.ts";
import type { IpAddress } from "#types/addr.ts";
import type { Datapath, Outcome } from "./harness.ts";
import type { End, ServiceSpec } from "./service-maps.ts";
import { type Family, families, HOST, OTHER, outside, type Place, remoteNode, remotePod, thisNode } from "./words.ts";

export const vip: Place = { ipv4: "10.96.0.10" as IpAddress, ipv6: "fd00:10:96::10" as IpAddress };
export const [PORT, NODE_PORT, TARGET] = [80, 30080, 8080];

export const end = (place: Place, family: Family, port: number): End => ({ ip: place[family], port });

export function clusterIp(family: Family, protocol: number, backends: readonly Place[]): ServiceSpec {
  return { ...end(vip, family, PORT), protocol, backends: backends.map((place) => end(place, family, TARGET)) };
}

export function nodePort(family: Family, protocol: number, backends: readonly Place[]): ServiceSpec {
  return {
    ...end(thisNode, family, NODE_PORT),
    protocol,
    backends: backends.map((place) => end(place, family, TARGET)),
    flags: ["ROUTABLE", "NODE_PORT"],
  };
}

/** Gives the node of the tests addresses, neighbours and routes, and tells the programs about the places. */
export function placeNode(datapath: Datapath): void {
  const lines = [
    "addr add 172.18.0.2/24 dev lxc4",
    "addr add fd00:172:18::2/64 dev lxc4 nodad",
    "link set pod4 up",
    "neigh add 172.18.0.1 lladdr 02:00:00:00:09:01 dev lxc4",
    "neigh add fd00:172:18::1 lladdr 02:00:00:00:09:01 dev lxc4",
    "route add default via 172.18.0.1 dev lxc4",
    "route add ::/0 via fd00:172:18::1 dev lxc4",
  ];
  datapath.inside(() => {
    execFileSync("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    execFileSync("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
  });
  datapath.services.setNode({ ipv4: thisNode.ipv4, ipv6: thisNode.ipv6 });
  for (const family of families) {
    datapath.maps.know(remotePod[family], OTHER, remoteNode[family]);
    datapath.maps.know(remoteNode[family], 6);
    datapath.maps.know(thisNode[family], HOST);
  }
}

/** `source:port > destination:port`, and that every checksum is right. */
export function ends(bytes: Uint8Array): string {
  const packet = parsePacket(bytes);
  checkSums(bytes, packet);
  const transport = packet.tcp ?? packet.udp ?? packet.sctp;
  return `${packet.ip?.source}:${transport?.sourcePort ?? "-"} > ${packet.ip?.destination}:${transport?.destinationPort ?? "-"}`;
}

function checkSums(bytes: Uint8Array, { ip }: Packet): void {
  if (!ip) throw new Error("no IP packet");
  if (ip.family === 4) assert.equal(internetChecksum(bytes.subarray(14, 14 + ip.headerLength)), 0, "IPv4 header checksum");
  if (ip.fragmentOffset > 0 || ip.moreFragments || ip.protocol === 132) return;
  const segment = bytes.subarray(14 + ip.headerLength, 14 + ip.totalLength);
  assert.equal(transportChecksum(ip, ip.protocol, segment), 0, "transport checksum");
}

/** What became of a packet, in a line: `redirect A:1 > B:2`, or the reason of its drop. */
export function told(outcome: Outcome): string {
  return outcome.reason ?? `${outcome.verdict} ${ends(outcome.bytes)}`;
}

export const line = (from: End, to: End): string => `${from.ip}:${from.port} > ${to.ip}:${to.port}`;

/** An address in the world that calls. */
export const caller = outside;
