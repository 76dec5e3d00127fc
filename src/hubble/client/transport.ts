import { readFileSync } from "node:fs";
import { connect as connectNet } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from "../server/address.ts";

export interface TlsOptions {
  readonly allowInsecure?: boolean;
  readonly caFiles?: readonly string[];
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly serverName?: string;
}

export interface TransportOptions {
  /** `host:port`, `unix:///path` or `tls://host:port`. */
  readonly server: string;
  /** TLS also without the scheme. */
  readonly tls?: TlsOptions;
  /** Time to connect, milliseconds. */
  readonly dialTimeoutMs?: number;
  readonly interceptors?: readonly Interceptor[];
  /**
   * Ask the other side for a sign of life every twenty seconds while calls run, and at `connect` when it has been silent for so long, so that a dead
   * one is noticed.
   */
  readonly keepAlive?: boolean;
}

export interface GrpcConnection extends Disposable {
  readonly transport: Transport;
  /** Connects if need be. True when the connection stands. Never rejects. */
  connect(): Promise<boolean>;
}

/** How long a session may still be set up after it was disposed of. */
const SETUP_GRACE_MS = 1000;

// Not `pingIdleConnection`: when a session dies under a call, connect-node 2.2 pings it once more, and that throws where nobody can catch it.
const KEEP_ALIVE = { pingIntervalMs: 20_000, pingTimeoutMs: 20_000, idleConnectionTimeoutMs: 2 ** 31 - 1 };

/** A gRPC connection. It connects at the first call and again after a failure. Disposing cuts it. */
export function openConnection(options: TransportOptions): GrpcConnection {
  const address = parseSocketAddress(options.server);
  const secure = options.tls !== undefined || options.server.startsWith("tls://");
  const authority = "path" in address ? "localhost" : formatSocketAddress({ ...address, host: address.host || "localhost" });
  const url = `${secure ? "https" : "http"}://${authority}`;
  const createConnection = () => dial(address, secure ? tlsOptions(options.tls ?? {}, address) : undefined, options.dialTimeoutMs ?? 0);
  const sessionManager = new Http2SessionManager(url, options.keepAlive ? KEEP_ALIVE : {}, { createConnection });
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, interceptors: [...(options.interceptors ?? [])] });
  let connecting: Promise<unknown> = Promise.resolve();
  const connect = async () => {
    const attempt = sessionManager.connect();
    connecting = attempt;
    return (await attempt) !== "error";
  };
  // A session that is cut while it is being set up throws where nobody can catch it: it is cut right after, or when that takes too long.
  const dispose = () => {
    const cut = () => sessionManager.abort();
    const timer = setTimeout(cut, SETUP_GRACE_MS);
    connecting.finally(() => clearTimeout(timer)).then(cut, cut);
  };
  return { transport, connect, [Symbol.dispose]: dispose };
}

function dial(address: SocketAddress, tls: ReturnType<typeof tlsOptions> | undefined, timeoutMs: number) {
  const target = "path" in address ? { path: address.path } : { host: address.host || "localhost", port: address.port };
  const socket = tls === undefined ? connectNet(target) : connectTls({ ...target, ...tls });
  if (timeoutMs > 0) {
    const timer = setTimeout(
      () => socket.destroy(new Error(`no connection to ${formatSocketAddress(address)} within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.once("connect", () => clearTimeout(timer));
    socket.once("close", () => clearTimeout(timer));
  }
  return socket;
}

/** What `node:tls` is told. Throws the file system's error for a file that is not there. */
export function tlsOptions(tls: TlsOptions, address: SocketAddress) {
  const { caFiles = [], certFile, keyFile } = tls;
  const servername = tls.serverName ?? ("path" in address ? "" : address.host);
  return {
    ALPNProtocols: ["h2"],
    rejectUnauthorized: tls.allowInsecure !== true,
    servername,
    ...(caFiles.length === 0 ? {} : { ca: caFiles.map((file) => readFileSync(file)) }),
    ...(certFile ? { cert: readFileSync(certFile) } : {}),
    ...(keyFile ? { key: readFileSync(keyFile) } : {}),
  };
}
