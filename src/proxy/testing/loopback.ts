import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { silentLogger } from "#runtime/logger.ts";
import { chooseHeaders, RECORDED_HEADERS } from "../access-record.ts";
import { ByteBudget } from "../byte-budget.ts";
import { createConnections } from "../connections.ts";
import { accessLine } from "../control/access-line.ts";
import { createAccessStream, type ProxyRecord } from "../control/access-stream.ts";
import type { DnsAccessMessage } from "../dns/protocol.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "../http/limits.ts";
import { DENIED, type DeniedReply } from "../http/local-reply.ts";
import { DEFAULT_HTTP_TIMEOUTS, type HttpTimeouts } from "../http/session.ts";
import { createCounters, type ProxyCounters } from "../metrics.ts";
import { createPolicyTable } from "../policy/policy-table.ts";
import type { AccessMessage, AccessRecord, HttpRule, PeerRule, PolicyMessage } from "../protocol.ts";

export const CLIENT_IP = "10.0.0.1";
export const SERVER_IP = "10.0.0.2";
export const CLIENT_IDENTITY = 1001;
export const SERVER_IDENTITY = 2002;

/** The server's endpoint with these rules on port 80. */
export function policyOf(rules: readonly PeerRule[], revision = 1): PolicyMessage {
  const port = { port: 80, protocol: "TCP", rules } as const;
  return {
    ...{ type: "policy", revision },
    endpoints: [{ id: 7, identity: SERVER_IDENTITY, ips: [SERVER_IP], ingress: [port], egress: [] }],
  };
}

/** Rules for any peer. */
export function anyPeer(...http: readonly HttpRule[]): PeerRule {
  return {
    identities: null,
    http,
    origins: [{ kind: "CiliumNetworkPolicy", namespace: "default", name: "web", section: "ingress", index: 0 }],
  };
}

export interface Loopback extends AsyncDisposable {
  /** Of HTTP. */
  readonly records: AccessMessage[];
  /** Of everything else. */
  readonly others: Exclude<AccessRecord, AccessMessage>[];
  readonly counters: ProxyCounters;
  readonly connections: number;
  /** A client connection through the proxy. */
  open(): Promise<Socket>;
  setPolicy(policy: PolicyMessage): void;
  drain(timeoutMs: number): Promise<void>;
}

export interface LoopbackOptions {
  readonly policy?: PolicyMessage;
  /** What the server does with a connection. */
  readonly serve: (socket: Socket) => void;
  readonly limits?: Partial<HttpLimits>;
  readonly timeouts?: Partial<HttpTimeouts>;
  readonly denied?: DeniedReply;
  readonly recorded?: readonly string[];
  readonly heldBytes?: number;
  readonly maxConnections?: number;
  readonly maxConnectionsPerClient?: number;
  /** Connect here instead of to the server. */
  readonly serverPort?: number;
}

/** Client → proxy → server on loopback, with plain sockets in place of transparent ones. */
export async function startLoopback(options: LoopbackOptions): Promise<Loopback> {
  const ends = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    ends.add(socket);
    socket.on("error", () => undefined);
    options.serve(socket);
  });
  const serverPort = options.serverPort ?? (await listening(server));
  const policy = createPolicyTable();
  if (options.policy !== undefined) policy.replace(options.policy);
  const counters = createCounters();
  const [records, others]: [AccessMessage[], Exclude<AccessRecord, AccessMessage>[]] = [[], []];
  const push = (record: ProxyRecord) => {
    // As the agent reads it.
    const read = JSON.parse(accessLine(record)) as AccessRecord | DnsAccessMessage;
    if (read.type === "access") records.push(read);
    else if (read.type !== "dns-access") others.push(read);
  };
  const stream = createAccessStream(1000, () => undefined);
  const dial = () => {
    const socket = connect({ host: "127.0.0.1", port: serverPort, allowHalfOpen: true });
    ends.add(socket);
    return socket;
  };
  const connections = createConnections(
    {
      ...{ log: silentLogger, policy, counters },
      records: { ...stream, push },
      identities: { identityOf: () => CLIENT_IDENTITY, refresh: () => undefined },
      transport: { connect: dial },
    },
    {
      ...{ maxConnections: options.maxConnections ?? 100, maxConnectionsPerClient: options.maxConnectionsPerClient ?? 100, sweepMs: 10 },
      limits: { ...DEFAULT_HTTP_LIMITS, ...options.limits },
      timeouts: { ...DEFAULT_HTTP_TIMEOUTS, linger: 200, ...options.timeouts },
      denied: options.denied ?? DENIED,
      recorded: chooseHeaders(options.recorded ?? RECORDED_HEADERS),
      held: new ByteBudget(options.heldBytes ?? 1e8),
    },
  );
  const front = createServer({ allowHalfOpen: true }, (socket) => {
    ends.add(socket);
    const client = { ip: CLIENT_IP, port: socket.remotePort ?? 0 };
    connections.accept({ socket, direction: "ingress", client, server: { ip: SERVER_IP, port: 80 } });
  });
  const frontPort = await listening(front);
  return {
    records,
    others,
    counters,
    get connections() {
      return connections.count;
    },
    async open() {
      const socket = connect({ host: "127.0.0.1", port: frontPort, allowHalfOpen: true });
      ends.add(socket);
      socket.on("error", () => undefined);
      // A refused connection is one, too: it ends at once.
      await once(socket, "connect").catch(() => undefined);
      return socket;
    },
    setPolicy(next) {
      policy.replace(next);
      connections.policyChanged();
    },
    drain: (timeoutMs) => connections.drain(timeoutMs),
    async [Symbol.asyncDispose]() {
      await connections.drain(0);
      for (const socket of ends) socket.destroy();
      front.close();
      server.close();
    },
  };
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Collects what arrives; `until` resolves with everything so far once `wanted` is in it, and with what there is when the connection ends. */
export function collect(socket: Socket): {
  readonly text: string;
  until(wanted: string | RegExp): Promise<string>;
  readonly ended: Promise<string>;
} {
  let text = "";
  let closed = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of waiting) check();
  };
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    wake();
  });
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const finish = () => {
    closed = true;
    resolve(text);
    wake();
  };
  socket.on("end", finish);
  socket.on("close", finish);
  return {
    get text() {
      return text;
    },
    ended,
    until(wanted) {
      return new Promise((done) => {
        const check = () => {
          if (!closed && (typeof wanted === "string" ? !text.includes(wanted) : !wanted.test(text))) return;
          waiting.delete(check);
          done(text);
        };
        waiting.add(check);
        check();
      });
    },
  };
}

/** Sends `text`, half-closes, and gives everything that came back. */
export async function exchange(options: LoopbackOptions, text: string): Promise<string> {
  await using proxy = await startLoopback(options);
  const client = await proxy.open();
  const answer = collect(client);
  client.end(text, "latin1");
  return await answer.ended;
}
