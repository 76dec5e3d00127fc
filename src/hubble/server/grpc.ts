import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from "./address.ts";

export interface GrpcServer extends AsyncDisposable {
  /** Where it listens, ports resolved. */
  readonly addresses: readonly SocketAddress[];
}

const SOCKET_MODE = 0o660;

/**
 * Serves gRPC (and Connect, gRPC-Web) over cleartext HTTP/2 on TCP addresses and Unix sockets. A Unix socket left behind is
 * replaced. Rejects when an address is taken. Disposing ends all streams.
 */
export async function startGrpcServer(routes: (router: ConnectRouter) => void, listen: readonly string[]): Promise<GrpcServer> {
  await using scope = new AsyncDisposableStack();
  const stop = new AbortController();
  const handler = connectNodeAdapter({ routes, shutdownSignal: stop.signal });
  const addresses: SocketAddress[] = [];
  for (const text of listen) {
    const server = createServer(handler);
    const sessions = trackSessions(server);
    addresses.push(await bind(server, parseSocketAddress(text)));
    scope.defer(() => close(server, sessions));
  }
  scope.defer(() => stop.abort());
  const running = scope.move();
  return { addresses, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function trackSessions(server: Http2Server): Set<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    // A client that goes away is no failure of ours.
    session.on("error", () => session.destroy());
  });
  return sessions;
}

async function bind(server: Http2Server, address: SocketAddress): Promise<SocketAddress> {
  if ("path" in address) {
    mkdirSync(dirname(address.path), { recursive: true });
    rmSync(address.path, { force: true });
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new Error(`cannot listen on ${formatSocketAddress(address)}`, { cause })));
    if ("path" in address) server.listen(address.path, resolve);
    else server.listen(address.port, address.host === "" ? undefined : address.host, resolve);
  });
  if ("path" in address) {
    chmodSync(address.path, SOCKET_MODE);
    return address;
  }
  return { host: address.host || "0.0.0.0", port: (server.address() as AddressInfo).port };
}

/** Ends streams in order first; what does not end within the second is cut. */
async function close(server: Http2Server, sessions: ReadonlySet<ServerHttp2Session>): Promise<void> {
  for (const session of sessions) session.close();
  const cut = setTimeout(() => {
    for (const session of sessions) session.destroy();
  }, 1000);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(cut);
}
