import { randomFillSync, randomInt } from "node:crypto";
import { type DatagramSet, type Received, sendDatagram } from "#sys/datagrams.ts";
import type { Netns } from "#sys/netns.ts";
import { closeFd, spoofedDatagram } from "#sys/socket.ts";
import { PROXY_MARKS } from "../protocol.ts";
import { ipOfEnd, keyOfEnd, keyOfWholeEnd, portOfEnd } from "./address.ts";

/** A question under way to its server. */
export interface Call<Query> {
  readonly query: Query;
  readonly started: number;
}

/** A question that waits until its server has answered others. */
interface Waiting<Query> {
  readonly message: Buffer;
  readonly client: Buffer;
  readonly server: Buffer;
  readonly identity: number;
  readonly query: Query;
}

/** What is under way to one server. */
interface Window<Query> {
  calls: number;
  readonly waiting: Waiting<Query>[];
}

interface Socket<Query> {
  readonly fd: number;
  readonly tag: number;
  readonly pool: string;
  readonly window: Window<Query>;
  readonly born: number;
  readonly calls: Map<number, Call<Query>>;
  uses: number;
}

export interface UpstreamConfig {
  /** Sockets that one client has for one server, one of which is picked at random for each question. */
  readonly socketsPerPair: number;
  /** After so many questions or milliseconds a socket, and with it a source port, is replaced. */
  readonly usesPerSocket: number;
  readonly socketAgeMs: number;
  /** A question without an answer is given up. */
  readonly timeoutMs: number;
  readonly maxCalls: number;
  /** Questions under way to one server; more wait. A burst, as after a restart, would overflow the server's socket. */
  readonly callsPerServer: number;
  readonly netns?: Netns | undefined;
}

export const DEFAULT_UPSTREAM_CONFIG: UpstreamConfig = {
  socketsPerPair: 4,
  usesPerSocket: 256,
  socketAgeMs: 10_000,
  timeoutMs: 5_000,
  maxCalls: 20_000,
  callsPerServer: 128,
};

/** The proxy's questions to servers, in the names of clients. */
export interface Upstream<Query> extends Disposable {
  /**
   * Sends a question with an id and from a port that nobody can guess. Its first two bytes are overwritten. False when it could not be sent: too many are
   * under way, or no socket could be made.
   */
  send(message: Buffer, client: Buffer, server: Buffer, identity: number, query: Query): boolean;
  /** The question that a received datagram answers by socket and id; undefined for anything else. It stays under way until `settle`. */
  find(received: Received): Call<Query> | undefined;
  /** The question has its answer. */
  settle(received: Received): void;
  /** Gives up questions whose time is over, and sockets that have served. */
  sweep(onTimeout: (query: Query) => void): void;
  readonly calls: number;
  readonly sockets: number;
}

/** Tags of sockets begin here; lower ones are the caller's. */
export const FIRST_UPSTREAM_TAG = 16;

export function createUpstream<Query>(
  { set, now }: { readonly set: DatagramSet; readonly now: () => number },
  config: UpstreamConfig,
): Upstream<Query> {
  const byTag = new Map<number, Socket<Query>>();
  const pools = new Map<string, Socket<Query>[]>();
  const windows = new Map<string, Window<Query>>();
  const ids = randomIds();
  let nextTag = FIRST_UPSTREAM_TAG;
  let calls = 0;

  const windowOf = (server: Buffer): Window<Query> => {
    const key = keyOfWholeEnd(server);
    const found = windows.get(key) ?? { calls: 0, waiting: [] };
    windows.set(key, found);
    return found;
  };
  const open = (pool: string, client: Buffer, server: Buffer, identity: number): Socket<Query> => {
    const mark = ((identity <= 0xffff ? identity << 16 : 0) | PROXY_MARKS.egress) >>> 0;
    const fd = spoofedDatagram({ host: ipOfEnd(server), port: portOfEnd(server), mark, netns: config.netns }, ipOfEnd(client));
    do nextTag = nextTag === 0xffffffff ? FIRST_UPSTREAM_TAG : nextTag + 1;
    while (byTag.has(nextTag));
    set.add(fd, nextTag);
    const socket = { fd, tag: nextTag, pool, window: windowOf(server), born: now(), calls: new Map(), uses: 0 };
    byTag.set(socket.tag, socket);
    return socket;
  };
  /** No new questions for it; it lives on for those under way. */
  const retire = (socket: Socket<Query>) => {
    const rest = (pools.get(socket.pool) ?? []).filter((one) => one !== socket);
    if (rest.length > 0) pools.set(socket.pool, rest);
    else pools.delete(socket.pool);
    if (socket.calls.size === 0) close(socket);
  };
  const close = (socket: Socket<Query>) => {
    byTag.delete(socket.tag);
    closeFd(socket.fd);
  };
  const pick = (client: Buffer, server: Buffer, identity: number): Socket<Query> => {
    const name = `${keyOfEnd(client)}${keyOfWholeEnd(server)}${identity}`;
    const pool = pools.get(name) ?? [];
    const chosen = randomInt(config.socketsPerPair);
    const found = pool[chosen];
    if (found !== undefined) return found;
    const made = open(name, client, server, identity);
    pools.set(name, [...pool, made]);
    return made;
  };
  const transmit = (message: Buffer, client: Buffer, server: Buffer, identity: number, query: Query): boolean => {
    let socket: Socket<Query>;
    try {
      socket = pick(client, server, identity);
    } catch {
      return false;
    }
    let id = ids();
    while (socket.calls.has(id)) id = ids();
    message.writeUInt16BE(id, 0);
    if (sendDatagram(socket.fd, message) !== 0) {
      retire(socket);
      return false;
    }
    socket.calls.set(id, { query, started: now() });
    socket.window.calls += 1;
    calls += 1;
    socket.uses += 1;
    if (socket.uses >= config.usesPerSocket) retire(socket);
    return true;
  };
  /** A question is over: the next one that waits for the server has its turn. */
  const over = (socket: Socket<Query>, id: number) => {
    if (!socket.calls.delete(id)) return;
    calls -= 1;
    const { window } = socket;
    window.calls -= 1;
    while (window.calls < config.callsPerServer) {
      const next = window.waiting.shift();
      if (next === undefined) break;
      transmit(next.message, next.client, next.server, next.identity, next.query);
    }
  };
  const giveUp = (socket: Socket<Query>, time: number, onTimeout: (query: Query) => void) => {
    for (const [id, call] of socket.calls) {
      if (time - call.started < config.timeoutMs) break;
      over(socket, id);
      onTimeout(call.query);
    }
  };
  const isRetired = (socket: Socket<Query>) => !(pools.get(socket.pool)?.includes(socket) ?? false);
  return {
    get calls() {
      return calls;
    },
    get sockets() {
      return byTag.size;
    },
    send(message, client, server, identity, query) {
      const window = windowOf(server);
      if (calls + window.waiting.length >= config.maxCalls) return false;
      if (window.calls < config.callsPerServer) return transmit(message, client, server, identity, query);
      window.waiting.push({ message: Buffer.from(message), client: Buffer.from(client), server: Buffer.from(server), identity, query });
      return true;
    },
    find({ tag, data }) {
      return data.length < 2 ? undefined : byTag.get(tag)?.calls.get(data.readUInt16BE(0));
    },
    settle({ tag, data }) {
      const socket = byTag.get(tag);
      if (socket === undefined) return;
      over(socket, data.readUInt16BE(0));
      if (socket.calls.size === 0 && isRetired(socket)) close(socket);
    },
    sweep(onTimeout) {
      const time = now();
      for (const socket of [...byTag.values()]) {
        giveUp(socket, time, onTimeout);
        if (!byTag.has(socket.tag)) continue;
        if (time - socket.born >= config.socketAgeMs) retire(socket);
        else if (socket.calls.size === 0 && isRetired(socket)) close(socket);
      }
      for (const [key, window] of windows) if (window.calls + window.waiting.length === 0) windows.delete(key);
    },
    [Symbol.dispose]() {
      for (const socket of byTag.values()) closeFd(socket.fd);
      byTag.clear();
      pools.clear();
    },
  };
}

const RANDOM_BYTES = 4096;

/** Unpredictable numbers of 16 bits, many at a time. */
function randomIds(): () => number {
  const bytes = Buffer.alloc(RANDOM_BYTES);
  let at = RANDOM_BYTES;
  return () => {
    if (at >= RANDOM_BYTES) {
      randomFillSync(bytes);
      at = 0;
    }
    at += 2;
    return bytes.readUInt16LE(at - 2);
  };
}
