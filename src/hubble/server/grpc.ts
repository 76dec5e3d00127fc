import { chmodSync, mkdirSync, rmSync } from "node:fs";
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from "./address.ts";
import { isPlainGrpc, type StreamMethod, serveStream } from "./grpc-stream.ts";
import { missingFiles, type ServerTls, secureContext, TLS_CHECK_MS, validityProblem, versionOf } from "./tls.ts";

export interface GrpcServer extends AsyncDisposable {
  /** Where it listens, ports resolved. */
  readonly addresses: readonly SocketAddress[];
}

export interface GrpcServerOptions {
  /** TLS on the TCP addresses; Unix sockets are protected by their mode. */
  readonly tls?: { readonly files: ServerTls; readonly log: Logger } | undefined;
  /** Methods that are served without Connect when the client speaks plain gRPC, by path. */
  readonly streams?: Readonly<Record<string, StreamMethod>>;
}

type Server = Http2Server | Http2SecureServer;

const SOCKET_MODE = 0o660;
/** Clients that are refused are told of so often at the most. */
const COMPLAIN_EVERY_MS = 60_000;

/**
 * Serves gRPC (and Connect, gRPC-Web) over HTTP/2 on TCP addresses and Unix sockets. A Unix socket left behind is replaced. With TLS, TCP
 * clients are refused until the files are there, and new files count from the next connection on. Rejects when an address is taken.
 * Disposing ends all streams.
 */
export async function startGrpcServer(
  routes: (router: ConnectRouter) => void,
  listen: readonly string[],
  { tls, streams = {} }: GrpcServerOptions = {},
): Promise<GrpcServer> {
  await using scope = new AsyncDisposableStack();
  const stop = new AbortController();
  const connect = connectNodeAdapter({ routes, shutdownSignal: stop.signal, fallback: refuse });
  const handler = (request: Http2ServerRequest, response: Http2ServerResponse) => {
    const method = request.method === "POST" && isPlainGrpc(request) ? streams[request.url] : undefined;
    if (method === undefined) connect(request, response);
    else void serveStream(method, request, response, stop.signal);
  };
  const addresses: SocketAddress[] = [];
  for (const text of listen) {
    const address = parseSocketAddress(text);
    const secure = tls !== undefined && !("path" in address);
    const server = secure ? createSecureServer(serverOptions(tls.files), handler) : createServer(handler);
    if (secure) scope.use(followFiles(server as Http2SecureServer, tls.files, tls.log));
    const sessions = trackSessions(server);
    addresses.push(await bind(server, address));
    scope.defer(() => close(server, sessions));
  }
  scope.defer(() => stop.abort());
  const running = scope.move();
  return { addresses, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Answers calls of what is not served here in gRPC's way, with headers that are the end: clients make nothing of a 404, or of no trailers. */
function refuse(...[request, response]: Parameters<ReturnType<typeof connectNodeAdapter>>): void {
  request.resume();
  const isGrpc = request.headers["content-type"]?.startsWith("application/grpc") ?? false;
  const message = `unknown service or method ${request.url ?? ""}`;
  if (isGrpc && "stream" in response) {
    const status = { "grpc-status": String(Code.Unimplemented), "grpc-message": encodeURI(message) };
    response.stream.respond({ ":status": 200, "content-type": "application/grpc", ...status }, { endStream: true });
    return;
  }
  response.writeHead(404);
  response.end();
}

/** Without a certificate no handshake succeeds: that is the state before the files are there. */
function serverOptions(files: ServerTls) {
  const mutual = files.clientCaFiles.length > 0;
  return { allowHTTP1: false, requestCert: mutual, rejectUnauthorized: mutual };
}

function followFiles(server: Http2SecureServer, files: ServerTls, log: Logger): Disposable {
  let used = "";
  let said = "";
  const missing = missingFiles(files);
  if (missing.length > 0) log.info("waiting for TLS files, clients are refused until then", { missing });
  const look = () => {
    const problem = validityProblem(files, new Date());
    if (problem !== said && problem !== "") log.error("clients refuse this server's certificate", { certificate: files.certFile, problem });
    said = problem;
    const now = versionOf(files);
    if (now === used || now === "") return;
    used = now;
    try {
      server.setSecureContext(secureContext(files));
      log.info("TLS files read", { certificate: files.certFile });
    } catch (thrown) {
      log.error("TLS files cannot be read, the ones before stay in use", { error: errorMessage(thrown) });
    }
  };
  look();
  const timer = setInterval(look, TLS_CHECK_MS).unref();
  let quietUntil = 0;
  server.on("tlsClientError", (error, socket) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + COMPLAIN_EVERY_MS;
    log.warn("client refused", { client: socket.remoteAddress, error: errorMessage(error) });
  });
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function trackSessions(server: Server): Set<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    // A client that goes away is no failure of ours.
    session.on("error", () => session.destroy());
  });
  return sessions;
}

async function bind(server: Server, address: SocketAddress): Promise<SocketAddress> {
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
async function close(server: Server, sessions: ReadonlySet<ServerHttp2Session>): Promise<void> {
  for (const session of sessions) session.close();
  const cut = setTimeout(() => {
    for (const session of sessions) session.destroy();
  }, 1000);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(cut);
}
