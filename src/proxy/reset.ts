import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** Resets the connection: the other side sees an error, not an orderly end. TLS has no handle of its own to reset, so it is cut. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  // Between an end and its being sent, libuv refuses to reset, and Node would lose the descriptor.
  if (socket instanceof TLSSocket || socket.writableEnded !== socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}
