import type { Direction } from "#types/direction.ts";
import { formatProtocol, hasPorts, parseProtocol, protocolNumber } from "#types/proto.ts";
import { type Explanation, explain } from "../explain/explain.ts";
import type { HttpRequest } from "../l7/http.ts";
import type { EndpointPolicy } from "../resolve/resolve.ts";
import { blocksOf } from "./outside.ts";
import { familyOf, identitySeenBy, isItself, namedPortOf, type Party, subjectOf } from "./party.ts";
import type { WorldService } from "./services.ts";
import type { World } from "./world.ts";

/** What is asked about: one end, the other, and what is sent. The port is the one that the receiver listens on; for ICMP the type. */
export type Connection = {
  readonly from: Party;
  readonly to: Party;
  readonly protocol: number;
  readonly port: number;
  readonly http?: HttpRequest | undefined;
  /** Nobody asks what came nearest to allowing it. */
  readonly brief?: boolean | undefined;
};

/** What one end's policies say. */
export type Side = {
  readonly direction: Direction;
  readonly policy: EndpointPolicy;
  readonly explanation: Explanation;
  readonly allowed: boolean;
};

/** What both ends say; an end is undefined where no policy of ours applies. */
export type Judgement = {
  readonly egress: Side | undefined;
  readonly ingress: Side | undefined;
  readonly allowed: boolean;
  /** A pod talks to itself: directly without leaving it, by a service through the datapath, which asks no policy either. */
  readonly itself?: boolean;
};

/** Judges a connection at both of its ends, as the datapath and the proxy do: both must allow it. */
export function judge(world: World, connection: Connection): Judgement {
  if (isItself(connection.from, connection.to)) return { egress: undefined, ingress: undefined, allowed: true, itself: true };
  const egress = sideOf(world, connection, "egress");
  const ingress = sideOf(world, connection, "ingress");
  return { egress, ingress, allowed: egress?.allowed !== false && ingress?.allowed !== false };
}

/** The end that a direction is judged at, and the one it looks at. */
export function endsOf({ from, to }: Connection, direction: Direction): { readonly own: Party; readonly peer: Party } {
  return direction === "egress" ? { own: from, peer: to } : { own: to, peer: from };
}

/** What one end would say if no policy were in audit mode; undefined where no policy of ours applies. */
export function unauditedSide(world: World, connection: Connection, direction: Direction): Side | undefined {
  return sideOf(world, connection, direction, true);
}

function sideOf(world: World, connection: Connection, direction: Direction, unaudited = false): Side | undefined {
  const { own, peer } = endsOf(connection, direction);
  const subject = subjectOf(world, own);
  if (subject === undefined) return undefined;
  const [repo, policy] = unaudited ? [world.repo, world.unauditedPolicyOf(subject)] : [world.repo.enforced(), world.policyOf(subject)];
  const { protocol, port, http, brief } = connection;
  const flow = { direction, identity: identitySeenBy(peer, own), protocol, port };
  const explanation = explain(repo, world.cache, policy, { ...flow, http, brief });
  const { verdict } = explanation.verdict;
  const served = verdict === "redirected" && explanation.verdict.entry?.proxy?.parser !== "crd";
  const allowed = verdict === "allowed" || (served && explanation.http?.allowed !== false);
  return { direction, policy, explanation, allowed };
}

/** A port as people write it: `80`, `80/udp`, `http`, `8/icmp`, `icmp`. */
export type PortQuestion = { readonly protocol: number | undefined; readonly port: number; readonly name: string };

/** Reads `--port`; undefined when it is none. ICMP without a type is an echo request. */
export function parsePort(text: string): PortQuestion | undefined {
  const [head = "", tail, more] = text.split("/");
  const protocol = parseProtocol(tail ?? head);
  if (more !== undefined || protocol === protocolNumber.ANY || (tail !== undefined && protocol === undefined)) return undefined;
  if (tail === undefined && protocol !== undefined) return { protocol, port: echoType(protocol), name: "" };
  const isIcmp = protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;
  if (protocol !== undefined && !isIcmp && !hasPorts(protocol)) return undefined;
  if (/^\d+$/.test(head)) {
    const port = Number(head);
    return (isIcmp ? port <= 0xff : port > 0 && port <= 0xffff) ? { protocol, port, name: "" } : undefined;
  }
  // A name has a letter in it, else it would be a number.
  const isName = /^(?=.*[a-zA-Z])[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/.test(head) && head.length <= 63 && !isIcmp;
  return isName ? { protocol, port: 0, name: head } : undefined;
}

function echoType(protocol: number): number {
  if (protocol === protocolNumber.ICMP) return 8;
  return protocol === protocolNumber.ICMPv6 ? 128 : 0;
}

/** Where a connection to a port of a party, or of a service before it, ends: the receiver's own port, or why there is none. */
export type Target = { readonly protocol: number; readonly port: number; readonly note?: string } | { readonly problem: string };

/** Policies look at the port after service translation: the target port. `from` tells the family of ICMP where the receiver has both. */
export function targetOf(asked: PortQuestion, to: Party, service: WorldService | undefined, from?: Party): Target {
  const protocol = asked.protocol ?? protocolNumber.TCP;
  if (service !== undefined && hasPorts(protocol)) return servicePort(asked, to, service);
  if (asked.name === "") {
    const own = icmpFor(protocol, from?.kind === "outside" && to.kind !== "outside" && blocksOf(from).length > 0 ? from : to);
    // An echo request has another number in IPv6.
    return { protocol: own, port: own !== protocol && asked.port === echoType(protocol) ? echoType(own) : asked.port };
  }
  const named = namedPortOf(to, asked.name, asked.protocol);
  return named ?? { problem: noPortNamed(to, asked.name, protocol) };
}

/** Ports are named per protocol: `dns` may be one of UDP and none of TCP. */
function noPortNamed(to: Party, name: string, protocol: number): string {
  const others = to.kind === "pod" ? to.subject.namedPorts.filter((one) => one.name === name) : [];
  const words = [...new Set(others.map((one) => `${name}/${formatProtocol(one.protocol).toLowerCase()}`))];
  const hint = words.length === 0 ? "" : `; it has ${words.join(" and ")}`;
  return `${to.title} has no port named "${name}" for ${formatProtocol(protocol)}${hint}`;
}

function icmpFor(protocol: number, to: Party): number {
  return protocol === protocolNumber.ICMP && familyOf(to) === 6 ? protocolNumber.ICMPv6 : protocol;
}

function servicePort(asked: PortQuestion, to: Party, service: WorldService): Target {
  const title = `service ${service.namespace}/${service.name}`;
  const protocol = asked.protocol ?? protocolNumber.TCP;
  const ports = service.ports.filter((one) => one.protocol === protocol);
  const found = ports.find((one) => (asked.name === "" ? one.port === asked.port : one.name === asked.name));
  if (found === undefined) {
    const behind = ports.find(({ target }) => target === asked.port);
    const hint = behind === undefined ? "" : `; ${asked.port} is the target port of its port ${behind.port}`;
    const all = service.ports.map(
      (one) => `${one.port}${one.protocol === protocol ? "" : `/${formatProtocol(one.protocol).toLowerCase()}`}`,
    );
    const wanted = `${asked.name || asked.port}${asked.protocol === undefined ? "" : `/${formatProtocol(protocol).toLowerCase()}`}`;
    return { problem: `${title} has no port ${wanted}, it has ${all.join(", ") || "none"}${hint}` };
  }
  const target = typeof found.target === "number" ? found.target : namedPortOf(to, found.target, protocol)?.port;
  if (target === undefined) return { problem: `${title}: ${noPortNamed(to, String(found.target), protocol)}` };
  return { protocol, port: target, note: `${title} port ${found.port} leads to port ${target} of ${to.title}; policies see that one` };
}
