import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { errnoName } from "#sys/errno.ts";
import { openStreamSet, type StreamSet, sendNow } from "#sys/streams.ts";

/** What a lane tells. */
export interface LaneEvents {
  /** The bytes are good until this returns: whoever needs them longer copies them. */
  data(bytes: Buffer): void;
  /** The other side has nothing more to say. */
  end(): void;
}

/**
 * The bytes of a socket, by the shortest way there is. Everything else (connecting, ending, errors, `drain`, `close`) stays the socket's,
 * which must have `allowHalfOpen`.
 */
export interface Lane {
  /** False: wait for the socket's `drain`. The bytes are the caller's again at once. */
  write(bytes: Buffer): boolean;
  pause(): void;
  resume(): void;
}

/** Begins to read `socket`, which must be connected. */
export function openLane(socket: Socket, events: LaneEvents): Lane {
  const handle = socket instanceof TLSSocket || socket.readableLength > 0 ? undefined : plainHandle(socket);
  return handle === undefined ? new SocketLane(socket, events) : new FastLane(socket, handle, events);
}

/** What Node keeps of a TCP connection. Not documented, so it is looked at before it is used: without it, lanes are slower, and as good. */
interface Handle {
  readonly fd: number;
  reading: boolean;
  readStop(): number;
}

function plainHandle(socket: Socket): Handle | undefined {
  const { _handle: handle } = socket as Socket & { readonly _handle?: Partial<Handle> | null };
  const isUsable = typeof handle?.fd === "number" && handle.fd >= 0 && typeof handle.readStop === "function";
  return isUsable ? (handle as Handle) : undefined;
}

/** Through the streams of Node: TLS, and connections of which something was read already. */
class SocketLane implements Lane {
  readonly #socket: Socket;

  constructor(socket: Socket, events: LaneEvents) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => events.data(bytes));
    socket.on("end", () => events.end());
  }

  write(bytes: Buffer): boolean {
    return this.#socket.write(Buffer.from(bytes));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

/** All fast lanes of the process are read together. */
let set: StreamSet | undefined;
const lanes = new Map<number, FastLane>();
let lastTag = 0;

/** Of the numbers from 1 on, after four thousand million again. */
function nextTag(): number {
  do lastTag = (lastTag + 1) >>> 0 || 1;
  while (lanes.has(lastTag));
  return lastTag;
}

function streamSet(): StreamSet {
  set ??= openStreamSet((tag, bytes, errno) => lanes.get(tag)?.receive(bytes, errno));
  return set;
}

/** Past the streams of Node: its handle stops reading, and writes only what the kernel does not take at once. */
class FastLane implements Lane {
  readonly #socket: Socket;
  /** Good until the socket is destroyed. */
  readonly #fd: number;
  readonly #events: LaneEvents;
  readonly #tag = nextTag();
  #reading = false;
  #ended = false;

  constructor(socket: Socket, handle: Handle, events: LaneEvents) {
    this.#socket = socket;
    this.#fd = handle.fd;
    this.#events = events;
    // A socket that has just connected begins to read unless it is paused.
    socket.pause();
    handle.readStop();
    handle.reading = false;
    if (lanes.size === 0) streamSet().hold(true);
    lanes.set(this.#tag, this);
    socket.on("close", () => this.#forget());
    this.resume();
  }

  /** Closing has taken the descriptor out of the set; its number may be another's by now. */
  #forget(): void {
    this.#reading = false;
    this.#ended = true;
    lanes.delete(this.#tag);
    if (lanes.size === 0) streamSet().hold(false);
  }

  /** Bytes come even after `pause` when they had been read before; an end will be told again. */
  receive(bytes: Buffer, errno: number): void {
    if (this.#socket.destroyed) return;
    if (bytes.length > 0) {
      this.#events.data(bytes);
    } else if (errno !== 0) {
      this.pause();
      this.#socket.destroy(Object.assign(new Error(`read ${errnoName(errno)}`), { code: errnoName(errno), errno }));
    } else if (this.#reading) {
      this.pause();
      this.#ended = true;
      this.#events.end();
    }
  }

  write(bytes: Buffer): boolean {
    const socket = this.#socket;
    // What waits in the socket comes first; what cannot be sent, it shall say why.
    const sent = socket.writableLength === 0 && !socket.destroyed ? Math.max(0, sendNow(this.#fd, bytes, 0, bytes.length)) : 0;
    return sent === bytes.length || socket.write(Buffer.from(bytes.subarray(sent)));
  }

  pause(): void {
    if (!this.#reading || this.#socket.destroyed) return;
    this.#reading = false;
    streamSet().remove(this.#fd);
  }

  resume(): void {
    if (this.#reading || this.#ended || this.#socket.destroyed) return;
    this.#reading = true;
    streamSet().add(this.#fd, this.#tag);
  }
}
