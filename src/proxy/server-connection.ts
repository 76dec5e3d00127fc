import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { type Lane, openLane } from "./lane.ts";
import { resetSocket } from "./reset.ts";

/** What a connection to a server tells. */
export interface ServerEvents {
  /** The bytes are good until this returns. */
  data(bytes: Buffer): void;
  /** The server has nothing more to say, but may listen. */
  end(): void;
  /** What was written has been sent. */
  writable(): void;
  /** The connection has closed (no error) or broken, or was never made. Nothing is told after this. */
  gone(error: NodeJS.ErrnoException | undefined): void;
}

/** A connection on its way to a server, then there: connecting within its time, reading by the shortest way. */
export class ServerConnection {
  readonly #socket: Socket;
  #events: ServerEvents;
  /** From when it is connected. */
  #lane: Lane | undefined;
  #over = false;

  /** `socket` is connecting, with `allowHalfOpen`; or it is TLS that has connected. */
  constructor(socket: Socket, connectTimeout: number, events: ServerEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.setTimeout(connectTimeout, () => {
      if (!this.connected) this.#finish(Object.assign(new Error("connect timed out"), { code: "ETIMEDOUT" }));
    });
    // Null before the handshake. Whoever made the connection may have waited for it.
    if (socket instanceof TLSSocket && socket.alpnProtocol !== null) queueMicrotask(() => this.#over || this.#onConnect());
    else socket.on(socket instanceof TLSSocket ? "secureConnect" : "connect", () => this.#onConnect());
    socket.on("drain", () => this.#over || this.#events.writable());
    socket.on("error", (error: NodeJS.ErrnoException) => this.#finish(error));
    socket.on("close", () => this.#finish(undefined));
  }

  get connected(): boolean {
    return this.#lane !== undefined;
  }

  /** From now on somebody else is told. */
  tell(events: ServerEvents): void {
    this.#events = events;
  }

  /** False: wait for `writable`. The bytes are the caller's again at once. */
  write(bytes: Buffer): boolean {
    if (!this.#socket.writable) return true;
    return this.#lane?.write(bytes) ?? this.#socket.write(Buffer.from(bytes));
  }

  pause(): void {
    this.#lane?.pause();
  }

  resume(): void {
    this.#lane?.resume();
  }

  /** Half-closes: there is nothing more to say to the server. */
  end(): void {
    this.#socket.end();
  }

  /** Closes for good once everything queued is sent; at once when it is not connected. */
  close(): void {
    this.#over = true;
    if (this.connected) this.#socket.destroySoon();
    else this.#socket.destroy();
  }

  destroy(reset: boolean): void {
    this.#over = true;
    if (reset && this.connected) resetSocket(this.#socket);
    else this.#socket.destroy();
  }

  #onConnect(): void {
    this.#socket.setTimeout(0);
    this.#lane = openLane(this.#socket, {
      data: (bytes) => this.#over || this.#events.data(bytes),
      end: () => this.#over || this.#events.end(),
    });
  }

  #finish(error: NodeJS.ErrnoException | undefined): void {
    if (this.#over) return;
    this.#events.gone(error);
    this.close();
  }
}
