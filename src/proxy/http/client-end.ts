import type { Socket } from "node:net";
import { type Lane, openLane } from "../lane.ts";
import { resetSocket } from "../reset.ts";
import type { HttpSession } from "./session.ts";

/** What the client does. */
export interface ClientEvents {
  /** The bytes are good until this returns. */
  data(bytes: Buffer): void;
  /** It has nothing more to say. */
  end(): void;
  /** What was sent to it has gone out. */
  writable(): void;
  /** Its connection has closed, or broken. */
  gone(isBroken: boolean): void;
}

/** The client's end of a connection: what is sent to it, how long it may take, and the ways in which it ends. */
export class ClientEnd {
  readonly #socket: Socket;
  readonly #lane: Lane;
  readonly #session: HttpSession;
  #deadline: number;
  #hasEnded = false;

  constructor(socket: Socket, session: HttpSession, events: ClientEvents) {
    this.#socket = socket;
    this.#session = session;
    this.#deadline = session.now() + session.timeouts.idle;
    socket.on("error", () => events.gone(true));
    socket.on("close", () => events.gone(false));
    socket.on("drain", () => events.writable());
    this.#lane = openLane(socket, {
      data: (bytes) => events.data(bytes),
      end: () => {
        this.#hasEnded = true;
        events.end();
      },
    });
  }

  /** The client has nothing more to say. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** What it waits for has so many milliseconds from now on. */
  extend(ms: number): void {
    this.#deadline = this.#session.now() + ms;
  }

  /** As `extend`, unless there is less time already. */
  hasten(ms: number): void {
    this.#deadline = Math.min(this.#deadline, this.#session.now() + ms);
  }

  isLate(now: number): boolean {
    return now >= this.#deadline;
  }

  /** False: it takes no more until `writable`. A client that is gone takes everything. */
  send(bytes: Buffer): boolean {
    return !this.#socket.writable || this.#lane.write(bytes);
  }

  pause(): void {
    this.#lane.pause();
  }

  resume(): void {
    this.#lane.resume();
  }

  /** The server has nothing more to say to it. */
  endSending(): void {
    this.#socket.end();
  }

  /** Sends what is queued, then closes. Reads on a little, so that the last answer is not lost to a reset. */
  close(): void {
    if (this.#hasEnded) this.closeNow();
    else this.#socket.end(() => this.extend(this.#session.timeouts.linger));
    this.#lane.resume();
    this.extend(this.#session.timeouts.stall);
  }

  /** Sends what is queued, then closes; nothing is read any more. */
  closeNow(): void {
    this.#socket.destroySoon();
  }

  /** Ends it at once; reset, the client sees an error. */
  destroy(reset: boolean): void {
    if (reset) resetSocket(this.#socket);
    else this.#socket.destroy();
  }
}
