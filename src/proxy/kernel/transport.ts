import type { Server, Socket } from "node:net";
import type { ProxyDirection } from "../protocol.ts";

export interface SocketAddress {
  readonly ip: string;
  readonly port: number;
}

/** A connection that the kernel redirected to us. */
export interface Redirected {
  readonly socket: Socket;
  readonly direction: ProxyDirection;
  readonly client: SocketAddress;
  /** Where the client meant to go. */
  readonly server: SocketAddress;
}

export interface UpstreamTarget {
  readonly direction: ProxyDirection;
  readonly client: SocketAddress;
  readonly server: SocketAddress;
  /** Identity of the client, for the mark. */
  readonly identity: number;
}

/** How connections come and go; the real one is transparent, tests use plain sockets. */
export interface Transport {
  /** Starts to accept. Rejects when a port is taken. Connections that were not redirected are refused and counted. */
  listen(onConnection: (connection: Redirected) => void, onRefused: (reason: "direct") => void): Promise<readonly Server[]>;
  /** Begins a connection in the client's name. Throws when no socket can be made. */
  connect(target: UpstreamTarget): Socket;
}
