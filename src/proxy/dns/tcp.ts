import { createServer, type Server, Socket } from "node:net";
import type { Netns } from "#sys/netns.ts";
import { closeFd, spoofedStream, transparentListener } from "#sys/socket.ts";
import { upstreamMark } from "../kernel/transparent.ts";
import { endOf } from "./address.ts";
import { ClientStreams, type StreamLimits } from "./client-streams.ts";
import type { DnsCounters } from "./counters.ts";
import type { Asked, Exchange } from "./exchange.ts";
import { framed, MessageReader } from "./stream.ts";

export interface TcpConfig extends StreamLimits {
  readonly port: number;
  readonly ipv6: boolean;
  /** Questions under way on one connection; more wait in the client's socket. */
  readonly maxCalls: number;
  readonly idleMs: number;
  readonly netns?: Netns | undefined;
  readonly inherited?: readonly number[] | undefined;
}

export const DEFAULT_TCP_CONFIG = { maxConnections: 2048, connectionsPerClient: 256, maxCalls: 64, idleMs: 15_000 } as const;

/** DNS by TCP: one connection of ours to the server for each connection of a client. */
export interface TcpFrontend extends AsyncDisposable {
  readonly listeners: readonly number[];
  readonly connections: number;
  /** Questions under way, and connections whose first one is on its way. */
  readonly calls: number;
  /** Takes no more connections. */
  stop(): void;
}

interface Deps {
  readonly exchange: Exchange;
  readonly counters: DnsCounters;
}

/** Opens the listeners and serves. Rejects with `KernelError`. */
export async function startTcp(deps: Deps, config: TcpConfig): Promise<TcpFrontend> {
  const open = new ClientStreams<Connection>(config);
  const accept = (socket: Socket) => {
    const { remoteAddress, localAddress, remotePort = 0, localPort = 0 } = socket;
    // Whoever connects to the listener itself was not redirected.
    if (localPort === config.port || !remoteAddress || !localAddress) {
      deps.counters.overload += 1;
      socket.on("error", () => undefined);
      socket.resetAndDestroy();
      return;
    }
    const connection = new Connection(
      socket,
      { client: endOf(remoteAddress, remotePort), server: endOf(localAddress, localPort) },
      deps,
      config,
    );
    if (open.add(remoteAddress, connection)) deps.counters.overload += 1;
    socket.on("close", () => open.delete(remoteAddress, connection));
  };
  const hosts = config.ipv6 ? ["0.0.0.0", "::"] : ["0.0.0.0"];
  const servers: Server[] = [];
  const listeners: number[] = [];
  for (const [i, host] of hosts.entries()) {
    const fd = config.inherited?.[i] ?? transparentListener({ host, port: config.port, netns: config.netns });
    const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd }, () => resolve());
    });
    listeners.push(fd);
    servers.push(server);
  }
  const stop = () => {
    for (const server of servers) if (server.listening) server.close();
  };
  return {
    listeners,
    get connections() {
      return open.size;
    },
    get calls() {
      let total = 0;
      for (const connection of open) total += connection.awaited;
      return total;
    },
    stop,
    async [Symbol.asyncDispose]() {
      const closed = servers.map((server) => (server.listening ? new Promise((resolve) => server.once("close", resolve)) : undefined));
      stop();
      for (const connection of open) connection.close();
      await Promise.all(closed);
    },
  };
}

interface Ends {
  readonly client: Buffer;
  readonly server: Buffer;
}

class Connection {
  readonly #socket: Socket;
  readonly #ends: Ends;
  readonly #deps: Deps;
  readonly #config: TcpConfig;
  readonly #calls = new Map<number, { readonly asked: Asked; readonly started: number }>();
  readonly #questions = new MessageReader();
  readonly #answers = new MessageReader();
  #upstream: Socket | undefined;
  #hasAsked = false;
  #ended = false;

  constructor(socket: Socket, ends: Ends, deps: Deps, config: TcpConfig) {
    this.#socket = socket;
    this.#ends = ends;
    this.#deps = deps;
    this.#config = config;
    socket.setTimeout(config.idleMs, () => {
      this.#giveUp();
      this.close();
    });
    socket.on("error", () => this.close());
    socket.on("close", () => this.#upstream?.destroy());
    socket.on("data", (chunk) => {
      for (const message of this.#questions.push(chunk)) if (!socket.destroyed) this.#ask(message);
      this.#pace();
    });
    socket.on("drain", () => this.#pace());
    socket.on("end", () => {
      this.#ended = true;
      this.#finish();
    });
  }

  get calls(): number {
    return this.#calls.size;
  }

  /** Questions that a client counts on: who has just come has one. */
  get awaited(): number {
    return this.#hasAsked || this.#ended ? this.#calls.size : 1;
  }

  close(): void {
    this.#calls.clear();
    this.#socket.destroy();
    this.#upstream?.destroy();
  }

  #ask(message: Buffer): void {
    this.#hasAsked = true;
    const judged = this.#deps.exchange.judge(message, this.#ends.client, this.#ends.server, "TCP");
    // On a stream what is no question leaves nothing to hold on to.
    if (judged === undefined) {
      this.close();
      return;
    }
    if ("answer" in judged) {
      this.#socket.write(framed(judged.answer));
      return;
    }
    const id = this.#freeId(judged.asked.id);
    message.writeUInt16BE(id, 0);
    this.#calls.set(id, { asked: judged.asked, started: performance.now() });
    try {
      this.#upstream ??= this.#connect(judged.asked);
      this.#upstream.write(framed(message));
    } catch {
      this.#calls.delete(id);
      this.#socket.write(framed(this.#deps.exchange.overloaded(message, judged.asked)));
      this.#finish();
    }
  }

  /** A client may use one id twice; towards the server each is used once. */
  #freeId(wanted: number): number {
    let id = wanted;
    while (this.#calls.has(id)) id = (id + 1) & 0xffff;
    return id;
  }

  #connect({ identity }: Asked): Socket {
    const { remoteAddress = "", localAddress = "", localPort = 0 } = this.#socket;
    const fd = spoofedStream({ source: remoteAddress, netns: this.#config.netns, mark: upstreamMark("egress", identity) });
    try {
      const upstream = new Socket({ fd, readable: true, writable: true });
      upstream.setNoDelay(true);
      upstream.on("error", () => {
        this.#giveUp();
        this.close();
      });
      upstream.on("close", () => {
        this.#giveUp();
        this.#socket.end();
      });
      upstream.on("data", (chunk) => {
        for (const message of this.#answers.push(chunk)) this.#answer(message);
        this.#pace();
      });
      upstream.on("drain", () => this.#pace());
      upstream.connect({ host: localAddress, port: localPort, family: localAddress.includes(":") ? 6 : 4 });
      return upstream;
    } catch (thrown) {
      closeFd(fd);
      throw thrown;
    }
  }

  #answer(message: Buffer): void {
    const id = message.length < 2 ? -1 : message.readUInt16BE(0);
    const call = this.#calls.get(id);
    if (call === undefined) {
      this.#deps.counters.unasked += 1;
      return;
    }
    const answer = this.#deps.exchange.answer(message, call.asked, performance.now() - call.started);
    if (answer === undefined) return;
    this.#calls.delete(id);
    this.#socket.write(framed(answer));
    this.#finish();
  }

  /** Reads from each side only what the other takes: who asks without reading answers, or does not read questions, costs no memory. */
  #pace(): void {
    const [client, server] = [this.#socket, this.#upstream];
    const isFull = client.writableNeedDrain;
    if (isFull) server?.pause();
    else server?.resume();
    if (isFull || server?.writableNeedDrain || this.#calls.size >= this.#config.maxCalls) client.pause();
    else client.resume();
  }

  /** The server is gone, or silent: what was asked has no answer any more. */
  #giveUp(): void {
    for (const { asked } of this.#calls.values()) this.#deps.exchange.unanswered(asked);
    this.#calls.clear();
  }

  /** The client has said all: when the last answer is there, so have we. */
  #finish(): void {
    if (!this.#ended || this.#calls.size > 0) return;
    this.#socket.end();
    this.#upstream?.destroy();
  }
}
