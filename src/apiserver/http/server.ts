import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { ApiError } from "../errors.ts";
import type { Pki } from "../pki/pki.ts";

/** Where to listen: an address of this network namespace, or a bound TCP socket made elsewhere. */
export type Listener =
  | { readonly host: string; readonly port: number }
  | { readonly fd: number; readonly address: string; readonly port: number };

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Handlers {
  request(request: IncomingMessage, response: ServerResponse): void;
  /** WebSocket and SPDY. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface Listening extends AsyncDisposable {
  readonly addresses: readonly Address[];
}

/** Listens with TLS on every listener. Rejects when one of them cannot be had. Disposing cuts all connections. */
export async function listen(pki: Pki, listeners: readonly Listener[], handlers: Handlers): Promise<Listening> {
  await using stack = new AsyncDisposableStack();
  const addresses: Address[] = [];
  for (const listener of listeners) {
    const server = createServer({
      cert: pki.server.certificate,
      key: pki.server.key,
      ca: pki.ca,
      requestCert: true,
      // The command of an exec stands in the URL; kube-apiserver takes as much.
      maxHeaderSize: 1024 * 1024,
      rejectUnauthorized: false,
    });
    server.on("request", handlers.request);
    server.on("upgrade", handlers.upgrade);
    // A client that breaks off its handshake or its request is its own affair.
    server.on("clientError", (_error, socket) => socket.destroy());
    server.on("tlsClientError", () => undefined);
    server.requestTimeout = 0;
    server.keepAliveTimeout = 120_000;
    await bind(server, listener);
    stack.defer(() => close(server));
    const bound = server.address() as AddressInfo | null;
    addresses.push(
      "fd" in listener ? { host: listener.address, port: listener.port } : { host: listener.host, port: bound?.port ?? listener.port },
    );
  }
  const owned = stack.move();
  return { addresses, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function bind(server: Server, listener: Listener): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(listener, error)));
    server.listen("fd" in listener ? { fd: listener.fd } : { host: listener.host, port: listener.port }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function listenError(listener: Listener, error: NodeJS.ErrnoException): ApiError {
  const where = "fd" in listener ? `${listener.address}:${listener.port} (socket ${listener.fd})` : `${listener.host}:${listener.port}`;
  const advice = error.code === "EADDRINUSE" ? "it is in use; stop what uses it or choose another port" : error.message;
  return new ApiError(500, "CannotListen", `cannot listen on ${where}: ${advice}`, undefined, { cause: error });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
