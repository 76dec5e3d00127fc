import { randomFillSync, randomInt } from "node:crypto";
import { type DatagramSet, type Received, sendDatagram } from "#sys/datagrams.ts";
import type { Netns } from "#sys/netns.ts";
import { closeFd, spoofedDatagram } from "#sys/socket.ts";
import { PROXY_MARKS } from "../protocol.ts";
import { ipOfEnd, keyOfEnd, keyOfWholeEnd, portOfEnd } from "./address.ts";
import { type Sent, ServerWindow, type WindowConfig } from "./server-window.ts";

/** A question under way to its server. */
export interface Call<Query> extends Sent {
  readonly query: Query;
}

/** A question on its way. */
interface Question<Query> {
  readonly message: Buffer;
  readonly client: Buffer;
  readonly server: Buffer;
  readonly identity: number;
  readonly query: Query;
}

interface Socket<Query> {
  readonly fd: number;
  readonly tag: number;
  readonly pool: string;
  readonly client: string;
  readonly window: ServerWindow<Question<Query>>;
  readonly born: number;
  readonly calls: Map<number, Call<Query>>;
  uses: number;
}

export interface UpstreamConfig extends WindowConfig {
  /** Sockets that one client has for one server, one of which is picked at random for each question. */
  readonly socketsPerPair: number;
  /** After so many questions or milliseconds a socket, and with it a source port, is replaced. */
  readonly usesPerSocket: number;
  readonly socketAgeMs: number;
  /** A question without an answer is given up. */
  readonly timeoutMs: number;
  readonly maxCalls: number;
  /** Of one client: none takes the others' places. */
  readonly callsPerClient: number;
  readonly netns?: Netns | undefined;
}

export const DEFAULT_UPSTREAM_CONFIG: UpstreamConfig = {
  socketsPerPair: 4,
  usesPerSocket: 256,
  socketAgeMs: 10_000,
  timeoutMs: 10_000,
  maxCalls: 65_536,
  callsPerClient: 8192,
  callsPerServer: 128,
  freshMs: 100,
};

/** The proxy's questions to servers, in the names of clients. */
export interface Upstream<Query> extends Disposable {
  /**
   * Sends a question with an id and from a port that nobody can guess. Its first two bytes are overwritten.
   */
  send(message: Buffer, client: Buffer, server: Buffer, identity: number, query: Query): void;
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
export const FIRST_UPSTREAM_TAG = 1024;

export interface UpstreamDeps<Query> {
  readonly set: DatagramSet;
  readonly now: () => number;
  /** Questions that may be under way at a time; 0: `UpstreamConfig.maxCalls`. */
  readonly maxCalls: () => number;
  /** It could not be sent: too many are under way, or no socket could be made. */
  readonly onLost: (message: Buffer, query: Query) => void;
}

export function createUpstream<Query>({ set, now, maxCalls, onLost }: UpstreamDeps<Query>, config: UpstreamConfig): Upstream<Query> {
  const byTag = new Map<number, Socket<Query>>();
  const pools = new Map<string, Socket<Query>[]>();
  const windows = new Map<string, ServerWindow<Question<Query>>>();
  /** Under way or waiting, by client. */
  const asking = new Map<string, number>();
  const ids = randomIds();
  let nextTag = FIRST_UPSTREAM_TAG;
  let calls = 0;

  const windowOf = (server: Buffer): ServerWindow<Question<Query>> => {
    const key = keyOfWholeEnd(server);
    const found = windows.get(key) ?? new ServerWindow<Question<Query>>(transmit, now, config);
    windows.set(key, found);
    return found;
  };
  const count = (client: string, change: 1 | -1) => {
    calls += change;
    const own = (asking.get(client) ?? 0) + change;
    if (own > 0) asking.set(client, own);
    else asking.delete(client);
  };
  const open = (pool: string, client: Buffer, server: Buffer, identity: number): Socket<Query> => {
    const mark = ((identity <= 0xffff ? identity << 16 : 0) | PROXY_MARKS.egress) >>> 0;
    const fd = spoofedDatagram({ host: ipOfEnd(server), port: portOfEnd(server), mark, netns: config.netns }, ipOfEnd(client));
    do nextTag = nextTag === 0xffffffff ? FIRST_UPSTREAM_TAG : nextTag + 1;
    while (byTag.has(nextTag));
    set.add(fd, nextTag);
    const common = { fd, tag: nextTag, pool, client: keyOfEnd(client), window: windowOf(server) };
    const socket = { ...common, born: now(), calls: new Map(), uses: 0 };
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
  const transmit = (question: Question<Query>): Call<Query> | undefined => {
    const { message, client, server, identity, query } = question;
    try {
      const socket = pick(client, server, identity);
      let id = ids();
      while (socket.calls.has(id)) id = ids();
      message.writeUInt16BE(id, 0);
      if (sendDatagram(socket.fd, message) === 0) {
        const call = { query, started: now(), isFresh: true };
        socket.calls.set(id, call);
        socket.uses += 1;
        if (socket.uses >= config.usesPerSocket) retire(socket);
        return call;
      }
      retire(socket);
    } catch {
      // No socket could be made.
    }
    count(keyOfEnd(client), -1);
    onLost(message, query);
    return undefined;
  };
  /** A question is over: the next one that waits for the server has its turn. */
  const over = (socket: Socket<Query>, id: number) => {
    const call = socket.calls.get(id);
    if (call === undefined) return;
    socket.calls.delete(id);
    count(socket.client, -1);
    socket.window.over(call);
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
      const key = keyOfEnd(client);
      if (calls >= (maxCalls() || config.maxCalls) || (asking.get(key) ?? 0) >= config.callsPerClient) {
        onLost(message, query);
        return;
      }
      count(key, 1);
      const window = windowOf(server);
      if (window.isOpen) {
        const sent = transmit({ message, client, server, identity, query });
        if (sent) window.note(sent);
      } else window.wait(key, { message: Buffer.from(message), client: Buffer.from(client), server: Buffer.from(server), identity, query });
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
      for (const [key, window] of windows) if (window.isIdle) windows.delete(key);
    },
    [Symbol.dispose]() {
      for (const window of windows.values()) window.close();
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
