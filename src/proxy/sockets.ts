import type { Netns } from "#sys/netns.ts";
import { closeFd, listener, redirectedDatagram, type SocketPlace, transparentListener } from "#sys/socket.ts";

/**
 * Sockets of a family among which the kernel divides questions by UDP, by the last bits of the pods' addresses. A pod that floods fills its own one. All proxies of a node have to
 * agree on the number.
 */
export const DNS_SOCKETS = 64;

const OPENERS = {
  ingress: transparentListener,
  egress: transparentListener,
  dnsDatagrams: openDnsDatagrams,
  dnsStreams: transparentListener,
  metrics: listener,
} as const satisfies Record<string, (place: SocketPlace) => number>;

/** One of the sockets for questions by UDP. */
export function openDnsDatagrams(place: SocketPlace): number {
  return redirectedDatagram(place, DNS_SOCKETS);
}

/** What a socket of the proxy is for. */
export type SocketKind = keyof typeof OPENERS;

/** The sockets of a proxy, open: descriptors for IPv4 and, when there are any, as many for IPv6. Who holds them decides who gets what waits in them. */
export type ProxySockets = Readonly<Record<SocketKind, readonly number[]>>;

/** Open sockets by what they are for, address and port. */
export type NamedSockets = ReadonlyMap<string, number>;

export interface SocketsConfig {
  /** 0: none. */
  readonly ports: Readonly<Record<SocketKind, number>>;
  readonly ipv6: boolean;
  readonly netns?: Netns | undefined;
}

/** Goes on with those of another proxy that are as they should be, opens what is missing and closes the rest. Throws `KernelError` (EADDRINUSE, EPERM). */
export function openSockets(config: SocketsConfig, held: NamedSockets = new Map()): NamedSockets {
  const places = placesOf(config);
  const wanted = new Set(places.map(nameOf));
  for (const [name, fd] of held) if (!wanted.has(name)) closeFd(fd);
  return new Map(
    places.map((place) => [nameOf(place), held.get(nameOf(place)) ?? OPENERS[place.kind]({ ...place, netns: config.netns })] as const),
  );
}

/** Which of them is for what. */
export function sortSockets(config: SocketsConfig, open: NamedSockets): ProxySockets {
  const places = placesOf(config);
  const of = (kind: SocketKind) => places.filter((place) => place.kind === kind).map((place) => open.get(nameOf(place)) ?? -1);
  return {
    ...{ ingress: of("ingress"), egress: of("egress"), metrics: of("metrics") },
    ...{ dnsDatagrams: of("dnsDatagrams"), dnsStreams: of("dnsStreams") },
  };
}

interface Place {
  readonly kind: SocketKind;
  readonly host: string;
  readonly port: number;
  /** Which of several at one place. */
  readonly index: number;
}

function placesOf({ ports, ipv6 }: SocketsConfig): Place[] {
  const kinds = (Object.keys(OPENERS) as SocketKind[]).filter((kind) => ports[kind] > 0);
  const indexes = (kind: SocketKind) => Array.from({ length: kind === "dnsDatagrams" ? DNS_SOCKETS : 1 }, (_, index) => index);
  return kinds.flatMap((kind) =>
    hostsOf(kind, ipv6).flatMap((host) => indexes(kind).map((index) => ({ kind, host, port: ports[kind], index }))),
  );
}

/** Whoever reads metrics comes by IPv4, as to all programs of Cilium. */
function hostsOf(kind: SocketKind, ipv6: boolean): readonly string[] {
  return ipv6 && kind !== "metrics" ? ["0.0.0.0", "::"] : ["0.0.0.0"];
}

function nameOf({ kind, host, port, index }: Place): string {
  return `${kind} ${host} ${port}${index === 0 ? "" : ` ${index}`}`;
}
