import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import { errorMessage } from "#runtime/errors.ts";
import { ApiError, badRequest } from "../errors.ts";
import { authenticate } from "../http/auth.ts";
import { parseRoute } from "../http/route.ts";
import type { Core } from "../operations/core.ts";
import type { Tokens } from "../pki/token.ts";
import { channelRemote, portChannels } from "./channels.ts";
import type { PodStreams } from "./pod-streams.ts";
import { runSession } from "./session.ts";
import { serveSpdyPorts, serveSpdySession } from "./spdy-session.ts";
import { splice } from "./splice.ts";
import { findPod, noStreams, requireNode, sessionRequest } from "./target.ts";

export interface UpgradeDeps {
  readonly core: Core;
  readonly tokens: Tokens;
  readonly streams: () => PodStreams | undefined;
  /** Cuts every stream when it aborts. */
  readonly signal: AbortSignal;
}

/** What an upgrade request is for, checked before the connection is taken over. */
export interface StreamTarget {
  readonly kind: "exec" | "attach" | "portforward";
  readonly namespace: string | undefined;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly streams: PodStreams;
}

/** SPDY frames in WebSocket messages: what kubectl forwards ports with. */
const TUNNEL = "SPDY/3.1+portforward.k8s.io";
const PROTOCOLS = [TUNNEL, "v5.channel.k8s.io", "v4.channel.k8s.io"] as const;

/** Handles `Upgrade` requests: exec, attach and port-forward over WebSocket and over SPDY/3.1. */
export function createUpgrader(deps: UpgradeDeps): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 16 * 1024 * 1024,
    handleProtocols: (offered) => PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  });
  deps.signal.addEventListener("abort", () => {
    for (const client of sockets.clients) client.terminate();
  });
  return (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    try {
      const target = checkUpgrade(deps, request);
      const protocol = request.headers.upgrade?.toLowerCase();
      if (protocol === "spdy/3.1") return upgradeToSpdy(deps, target, request, socket);
      if (protocol !== "websocket") throw badRequest(`cannot upgrade to ${String(protocol)}; use WebSocket or SPDY/3.1`);
      requireProtocol(request);
      sockets.handleUpgrade(request, socket, head, (client) => {
        client.on("error", () => client.terminate());
        void serve(deps, target, client);
      });
    } catch (thrown) {
      refuse(socket, thrown);
    }
  };
}

function checkUpgrade({ core, tokens, streams }: UpgradeDeps, request: IncomingMessage): StreamTarget {
  if (!authenticate(request, tokens, core.store)) throw new ApiError(401, "Unauthorized", "Unauthorized");
  const url = new URL(request.url ?? "/", "https://localhost");
  const route = parseRoute(url.pathname);
  const kind = route?.subresource;
  if (!route?.name || route.resource !== "pods" || (kind !== "exec" && kind !== "attach" && kind !== "portforward")) {
    throw new ApiError(404, "NotFound", "the server could not find the requested resource");
  }
  const { namespace, name } = route;
  if (kind === "portforward") requireNode(findPod(core, namespace, name));
  else sessionRequest(core, namespace, name, url.searchParams);
  const backend = streams();
  if (!backend) throw noStreams();
  return { kind, namespace, name, query: url.searchParams, streams: backend };
}

function requireProtocol(request: IncomingMessage): void {
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((each) => each.trim());
  if (!PROTOCOLS.some((protocol) => offered.includes(protocol))) {
    throw badRequest(`none of the protocols ${JSON.stringify(offered)} is known; use one of ${PROTOCOLS.join(", ")}`);
  }
}

async function serve(deps: UpgradeDeps, target: StreamTarget, client: WebSocket): Promise<void> {
  const { core } = deps;
  const { kind, namespace, name, query, streams } = target;
  if (client.protocol === TUNNEL) {
    serveSpdyPorts(createWebSocketStream(client), streams, findPod(core, namespace, name));
    return;
  }
  if (kind === "portforward") return servePorts(deps, target, client);
  const request = sessionRequest(core, namespace, name, query);
  await runSession(() => (kind === "exec" ? streams.exec(request) : streams.attach(request)), channelRemote(client, request));
}

async function servePorts({ core }: UpgradeDeps, { namespace, name, query, streams }: StreamTarget, client: WebSocket): Promise<void> {
  const ports = query
    .getAll("ports")
    .flatMap((text) => text.split(","))
    .map(Number);
  const pod = findPod(core, namespace, name);
  await Promise.all(
    portChannels(client, ports).map(async ({ port, data, fail }) => {
      try {
        const connection = await streams.portForward({ pod, port });
        await splice(data, connection);
      } catch (thrown) {
        fail(`error forwarding port ${port} to pod ${name}: ${errorMessage(thrown)}`);
      }
    }),
  );
  client.close(1000);
}

const SPDY_PROTOCOLS = { session: ["v5.channel.k8s.io", "v4.channel.k8s.io"], ports: ["portforward.k8s.io"] } as const;

/** The older way, which clients take when WebSockets are refused on the way. */
function upgradeToSpdy(deps: UpgradeDeps, target: StreamTarget, request: IncomingMessage, socket: Duplex): void {
  const { kind, namespace, name, query, streams } = target;
  const header = request.headers["x-stream-protocol-version"];
  const offered = [header ?? []].flat().flatMap((line) => line.split(",").map((each) => each.trim()));
  const known: readonly string[] = kind === "portforward" ? SPDY_PROTOCOLS.ports : SPDY_PROTOCOLS.session;
  const chosen = known.find((protocol) => offered.includes(protocol));
  if (!chosen) throw badRequest(`none of the stream protocols ${JSON.stringify(offered)} is known; use one of ${known.join(", ")}`);
  const pod = findPod(deps.core, namespace, name);
  const head = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1", `X-Stream-Protocol-Version: ${chosen}`];
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  deps.signal.addEventListener("abort", () => socket.destroy());
  if (kind === "portforward") {
    serveSpdyPorts(socket, streams, pod);
    return;
  }
  const options = sessionRequest(deps.core, namespace, name, query);
  serveSpdySession(socket, options, () => (kind === "exec" ? streams.exec(options) : streams.attach(options)));
}

/** Answers on the raw socket, as there is no response object for an upgrade request. */
function refuse(socket: Duplex, thrown: unknown): void {
  const error = thrown instanceof ApiError ? thrown : new ApiError(500, "InternalError", errorMessage(thrown));
  const body = JSON.stringify(error.status);
  socket.end(
    `HTTP/1.1 ${error.httpStatus} ${error.reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
