import type { Socket } from "node:net";
import { resetSocket } from "./reset.ts";

/** Bytes both ways between two sockets, with each side's pace and each side's end. */
export interface Tunnel {
  /** When the last byte moved, by the session's clock. */
  readonly lastMoved: number;
  /** Ends both sides at once. */
  cut(): void;
}

/** Sees what comes from each side, and gives what goes on to the other. */
export interface TunnelReader {
  fromClient(chunk: Buffer): Buffer;
  fromServer(chunk: Buffer): Buffer;
}

const UNREAD: TunnelReader = { fromClient: (chunk) => chunk, fromServer: (chunk) => chunk };

/** Starts to pass on, as it is unless `reader` gives something else. `first` goes to the server before anything else. Both sockets must have `allowHalfOpen`. */
export function openTunnel(client: Socket, server: Socket, first: Buffer, now: () => number, reader = UNREAD): Tunnel {
  let lastMoved = now();
  const cut = () => {
    resetSocket(client);
    resetSocket(server);
  };
  const pass = (from: Socket, to: Socket, read: (chunk: Buffer) => Buffer) => {
    const onData = (chunk: Buffer) => {
      lastMoved = now();
      const bytes = read(chunk);
      if (bytes.length > 0 && to.writable && !to.write(bytes)) from.pause();
    };
    from.on("data", onData);
    to.on("drain", () => from.resume());
    from.on("end", () => to.end());
    from.on("error", cut);
    from.on("close", () => to.destroySoon());
    return onData;
  };
  const toServer = pass(client, server, (chunk) => reader.fromClient(chunk));
  pass(server, client, (chunk) => reader.fromServer(chunk));
  if (first.length > 0) toServer(first);
  client.resume();
  return {
    get lastMoved() {
      return lastMoved;
    },
    cut,
  };
}
