import { createServer, isIPv6, type Server, Socket } from "node:net";
import type { Netns } from "#sys/netns.ts";
import { closeFd, spoofedStream, transparentListener } from "#sys/socket.ts";
import { PROXY_MARKS, type ProxyDirection } from "../protocol.ts";
import type { Redirected, SocketAddress, Transport, UpstreamTarget } from "./transport.ts";

export interface TransparentConfig {
  readonly ports: Readonly<Record<ProxyDirection, number>>;
  readonly ipv6: boolean;
  /** The namespace of the node, when it is not the process's own (tests). */
  readonly netns?: Netns;
  /** Listeners that are open already, IPv4 first; own ones are opened when absent. */
  readonly listeners?: Readonly<Record<ProxyDirection, readonly number[]>> | undefined;
}

/**
 * Sockets that stand in for others: listeners take connections to any address that BPF hands them, upstream sockets speak with the client's
 * address. Needs CAP_NET_ADMIN and the routing rule of the agent (fwmark 0x200/0xf00 → local).
 */
export function createTransparentTransport(config: TransparentConfig): Transport {
  return {
    async listen(onConnection, onRefused) {
      const hosts = config.ipv6 ? ["0.0.0.0", "::"] : ["0.0.0.0"];
      const wanted = (["ingress", "egress"] as const).flatMap((direction) =>
        hosts.map((host, i) => ({ direction, host, fd: config.listeners?.[direction][i] })),
      );
      const servers: Server[] = [];
      try {
        for (const { direction, host, fd } of wanted) {
          servers.push(await listen({ direction, host, fd, port: config.ports[direction], netns: config.netns }, onConnection, onRefused));
        }
      } catch (thrown) {
        for (const server of servers) server.close();
        throw thrown;
      }
      return servers;
    },
    connect: (target) => connect(target, config.netns),
  };
}

/** Connections that wait to be accepted: a burst should not meet the kernel's retries. */
const BACKLOG = 4096;

interface ListenerPlace {
  readonly direction: ProxyDirection;
  readonly host: string;
  readonly port: number;
  readonly netns: Netns | undefined;
  /** Open already. */
  readonly fd: number | undefined;
}

async function listen(
  { direction, host, port, netns, fd: inherited }: ListenerPlace,
  onConnection: (connection: Redirected) => void,
  onRefused: (reason: "direct") => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const client = { ip: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    const original = { ip: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    // Whoever connects to the listener itself was not redirected: there is no policy to ask and nowhere to go.
    if (original.port === port || client.ip === "") {
      onRefused("direct");
      socket.on("error", () => undefined);
      socket.resetAndDestroy();
      return;
    }
    onConnection({ socket, direction, client, server: original });
  });
  // Without a mark, which accepted connections would inherit: answers belong to the client's connection, not to one of the proxy's own.
  const fd = inherited ?? transparentListener({ host, port, netns });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd, backlog: BACKLOG }, () => resolve());
  });
  return server;
}

/** The default range of ports for outgoing connections (`net.ipv4.ip_local_port_range`), in halves. */
const LOW_PORTS = { first: 32768, last: 46883 } as const;
const HIGH_PORTS = { first: 46884, last: 60999 } as const;

function connect({ direction, client, server, identity }: UpstreamTarget, netns: Netns | undefined): Socket {
  const fd = spoofedStream({ source: client.ip, netns, mark: upstreamMark(direction, identity), localPorts: otherPorts(client) });
  try {
    // connect() follows at once, before Node would start to read.
    const socket = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
    socket.setNoDelay(true);
    socket.connect({ host: server.ip, port: server.port, family: isIPv6(server.ip) ? 6 : 4 });
    return socket;
  } catch (thrown) {
    closeFd(fd);
    throw thrown;
  }
}

/**
 * The upstream connection must not have the client's own port: with another proxy behind this one on the same node, two connections would
 * share a tuple.
 */
function otherPorts(client: SocketAddress): { readonly first: number; readonly last: number } {
  return client.port > LOW_PORTS.last ? LOW_PORTS : HIGH_PORTS;
}

/** Identities beyond 16 bits do not fit the mark; the datapath then goes by the source address alone. */
export function upstreamMark(direction: ProxyDirection, identity: number): number {
  const shown = identity <= 0xffff ? identity : 0;
  return ((shown << 16) | PROXY_MARKS[direction]) >>> 0;
}
