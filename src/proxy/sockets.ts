import type { Netns } from "#sys/netns.ts";
import { redirectedDatagram, transparentListener } from "#sys/socket.ts";

/** The sockets that the kernel redirects to: descriptors for IPv4 and, when there is one, IPv6. Who holds them decides who gets what waits in them. */
export interface ProxySockets {
  readonly ingress: readonly number[];
  readonly egress: readonly number[];
  readonly dnsDatagrams: readonly number[];
  readonly dnsStreams: readonly number[];
}

export interface SocketsConfig {
  readonly ports: { readonly ingress: number; readonly egress: number; readonly dns: number };
  readonly ipv6: boolean;
  readonly netns?: Netns | undefined;
}

/** Opens all of them. Throws `KernelError` (EADDRINUSE, EPERM). */
export function openSockets({ ports, ipv6, netns }: SocketsConfig): ProxySockets {
  const hosts = ipv6 ? ["0.0.0.0", "::"] : ["0.0.0.0"];
  return {
    ingress: hosts.map((host) => transparentListener({ host, port: ports.ingress, netns })),
    egress: hosts.map((host) => transparentListener({ host, port: ports.egress, netns })),
    dnsDatagrams: hosts.map((host) => redirectedDatagram({ host, port: ports.dns, netns })),
    dnsStreams: hosts.map((host) => transparentListener({ host, port: ports.dns, netns })),
  };
}

/** In one list, to be handed to another process; `numberedSockets` reads it there. */
export function flattenSockets({ ingress, egress, dnsDatagrams, dnsStreams }: ProxySockets): number[] {
  return [...ingress, ...egress, ...dnsDatagrams, ...dnsStreams];
}

/** `count` descriptors from `first` on, as `flattenSockets` has them in order. */
export function numberedSockets(first: number, count: number): ProxySockets {
  const each = count / 4;
  const group = (index: number) => Array.from({ length: each }, (_, i) => first + index * each + i);
  return { ingress: group(0), egress: group(1), dnsDatagrams: group(2), dnsStreams: group(3) };
}
