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

interface Socket<Query> {
  readonly fd: number;
  readonly tag: number;
  readonly pool: string;
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
  readonly netns?: Netns | undefined;
}

export const DEFAULT_UPSTREAM_CONFIG: UpstreamConfig = {
  socketsPerPair: 4,
  usesPerSocket: 256,
  socketAgeMs: 10_000,
  timeoutMs: 5_000,
  maxCalls: 20_000,
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
  const ids = randomIds();
  let nextTag = FIRST_UPSTREAM_TAG;
  let calls = 0;

  const open = (pool: string, client: Buffer, server: Buffer, identity: number): Socket<Query> => {
    const mark = ((identity <= 0xffff ? identity << 16 : 0) | PROXY_MARKS.egress) >>> 0;
    const fd = spoofedDatagram({ host: ipOfEnd(server), port: portOfEnd(server), mark, netns: config.netns }, ipOfEnd(client));
    do nextTag = nextTag === 0xffffffff ? FIRST_UPSTREAM_TAG : nextTag + 1;
    while (byTag.has(nextTag));
    set.add(fd, nextTag);
    const socket = { fd, tag: nextTag, pool, born: now(), calls: new Map(), uses: 0 };
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
  const isRetired = (socket: Socket<Query>) => !(pools.get(socket.pool)?.includes(socket) ?? false);
  return {
    get calls() {
      return calls;
    },
    get sockets() {
      return byTag.size;
    },
    send(message, client, server, identity, query) {
      if (calls >= config.maxCalls) return false;
      let socket: Socket<Query>;
      try {
        socket = pick(client, server, identity);
      } catch {
        return false;
      }
      let id = ids();
      while (socket.calls.has(id)) id = ids();
      message.writeUInt16BE(id, 0);
      socket.calls.set(id, { query, started: now() });
      calls += 1;
      socket.uses += 1;
      if (sendDatagram(socket.fd, message) !== 0) {
        socket.calls.delete(id);
        calls -= 1;
        retire(socket);
        return false;
      }
      if (socket.uses >= config.usesPerSocket) retire(socket);
      return true;
    },
    find({ tag, data }) {
      return data.length < 2 ? undefined : byTag.get(tag)?.calls.get(data.readUInt16BE(0));
    },
    settle({ tag, data }) {
      const socket = byTag.get(tag);
      if (socket?.calls.delete(data.readUInt16BE(0))) calls -= 1;
      if (socket?.calls.size === 0 && isRetired(socket)) close(socket);
    },
    sweep(onTimeout) {
      const time = now();
      for (const socket of [...byTag.values()]) {
        for (const [id, call] of socket.calls) {
          if (time - call.started < config.timeoutMs) break;
          socket.calls.delete(id);
          calls -= 1;
          onTimeout(call.query);
        }
        if (time - socket.born >= config.socketAgeMs) retire(socket);
        else if (socket.calls.size === 0 && isRetired(socket)) close(socket);
      }
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
