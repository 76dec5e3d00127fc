import { Socket } from "node:net";
import { openNetns } from "#sys/netns.ts";
import { stream } from "#sys/socket.ts";

/** A TCP connection made in another network namespace, given by its file; it connects, or fails, by the socket's usual events. */
export function dial(netnsPath: string, host: string, port: number): Socket {
  using netns = openNetns(netnsPath);
  const fd = stream({ family: host.includes(":") ? 6 : 4, netns });
  return new Socket({ fd, readable: true, writable: true }).connect(port, host);
}
