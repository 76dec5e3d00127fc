import type { Socket } from "node:net";
import { resetSocket } from "./reset.ts";

/** Bytes both ways between two sockets, as they are, with each side's pace and each side's end. */
export interface Tunnel {
  /** When the last byte moved, by the session's clock. */
  readonly lastMoved: number;
  /** Ends both sides at once. */
  cut(): void;
}

/** Starts to pass on. `first` goes to the server before anything else. Both sockets must have `allowHalfOpen`. */
export function openTunnel(client: Socket, server: Socket, first: Buffer, now: () => number): Tunnel {
  let lastMoved = now();
  const cut = () => {
    resetSocket(client);
    resetSocket(server);
  };
  const pass = (from: Socket, to: Socket) => {
    from.on("data", (chunk: Buffer) => {
      lastMoved = now();
      if (to.writable && !to.write(chunk)) from.pause();
    });
    to.on("drain", () => from.resume());
    from.on("end", () => to.end());
    from.on("error", cut);
    from.on("close", () => to.destroySoon());
  };
  if (first.length > 0) server.write(first);
  pass(client, server);
  pass(server, client);
  client.resume();
  return {
    get lastMoved() {
      return lastMoved;
    },
    cut,
  };
}
