import type { Socket } from "node:net";
import type { ProxiedConnection } from "../connection.ts";
import { HTTP2_PREFACE } from "../http/request-head.ts";
import { resetSocket } from "../reset.ts";
import type { Session } from "../session.ts";
import { openTunnel, type Tunnel } from "../tunnel.ts";
import type { Witness } from "./witness.ts";

export interface AuditedOptions {
  /** Who reads along, by how the client begins; empty when the server spoke first. */
  readonly witness: (first: Buffer) => Witness;
  /** Takes a connection that begins as HTTP/2: that is read and passed on stream by stream. Absent where no rule is about HTTP. */
  readonly http2: (() => ProxiedConnection) | undefined;
  /** How many milliseconds a proxy that stops waits for the last request of a connection. */
  readonly last: number;
}

/** A client that says nothing for so long may be waiting for the server to begin. */
const FIRST_WORD_MS = 200;
/** Nothing ends here for being idle, so that ends that are gone must be found in another way. */
const KEEP_ALIVE_MS = 60_000;

/**
 * A connection that no rule in force is about: bytes go both ways as they come, whatever they mean, and nothing is answered here. A witness reads along and
 * reports what rules in audit mode would deny.
 */
export class AuditedConnection implements ProxiedConnection {
  readonly #client: Socket;
  readonly #session: Session;
  readonly #options: AuditedOptions;
  readonly #timer: NodeJS.Timeout;
  #held: Buffer = Buffer.alloc(0);
  #server: Socket | undefined;
  #tunnel: Tunnel | undefined;
  #witness: Witness | undefined;
  #inner: ProxiedConnection | undefined;
  /** When nothing new begins any more, once that was asked for. */
  #stopAt: number | undefined;
  #finishing = false;

  constructor(client: Socket, session: Session, options: AuditedOptions) {
    this.#client = client;
    this.#session = session;
    this.#options = options;
    this.#timer = setTimeout(() => this.#begin(), FIRST_WORD_MS).unref();
    client.on("data", this.#onFirst);
    client.on("end", this.#onEarlyEnd);
    client.on("error", () => undefined);
    client.on("close", () => this.#onClose());
  }

  cut(): void {
    this.#inner?.cut();
    this.#tunnel?.cut();
    resetSocket(this.#client);
  }

  /** What nobody can read has no end that we could see, so it gets the time that draining takes. The client's next word may be on its way; it is the last. */
  stop(): void {
    this.#stopAt = this.#session.now() + this.#options.last;
    this.#inner?.stop();
  }

  /** When rules come into force, what is under way may be finished, as far as it can be told from what comes next. */
  stillRedirected(): boolean {
    if (this.#inner !== undefined) return this.#inner.stillRedirected();
    const policy = this.#session.policy();
    return policy !== null && (policy.peer.onlyAudited || this.#finish());
  }

  checkDeadline(now: number): void {
    this.#inner?.checkDeadline(now);
    if (this.#inner === undefined && now >= (this.#stopAt ?? Number.POSITIVE_INFINITY) && !this.#finishing) this.#finish();
  }

  readonly #onFirst = (chunk: Buffer): void => {
    this.#held = Buffer.concat([this.#held, chunk]);
    const first = this.#held.toString("latin1", 0, HTTP2_PREFACE.length);
    if (this.#options.http2 === undefined || !HTTP2_PREFACE.startsWith(first)) this.#begin();
    else if (first === HTTP2_PREFACE) {
      this.#release();
      this.#client.unshift(this.#held);
      this.#inner = this.#options.http2();
      if (this.#stopAt !== undefined) this.#inner.stop();
    }
  };

  readonly #onEarlyEnd = (): void => this.#begin();

  #onClose(): void {
    clearTimeout(this.#timer);
    this.#witness?.close?.();
  }

  /** From here on the socket is somebody else's. */
  #release(): void {
    clearTimeout(this.#timer);
    this.#client.off("data", this.#onFirst);
    this.#client.off("end", this.#onEarlyEnd);
  }

  #begin(): void {
    this.#release();
    try {
      this.#server = this.#session.connect();
    } catch {
      resetSocket(this.#client);
      return;
    }
    for (const socket of [this.#client, this.#server]) socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#tunnel = openTunnel(this.#client, this.#server, this.#held, this.#session.now, {
      fromClient: (chunk) => this.#fromClient(chunk),
      fromServer: (chunk) => this.#fromServer(chunk),
    });
    this.#held = Buffer.alloc(0);
    if (this.#client.readableEnded) this.#server.end();
  }

  #fromClient(chunk: Buffer): Buffer {
    this.#witness ??= this.#options.witness(chunk);
    if (this.#witness.fromClient(chunk)) {
      if (this.#stopAt !== undefined && !this.#finishing) this.#finish();
      return chunk;
    }
    this.cut();
    return Buffer.alloc(0);
  }

  #fromServer(chunk: Buffer): Buffer {
    this.#witness ??= this.#options.witness(Buffer.alloc(0));
    const told = this.#witness.fromServer(chunk);
    if (this.#finishing) setImmediate(() => this.#endWhenIdle());
    return told;
  }

  /** Gives whether what is under way can be finished without letting anything new begin. */
  #finish(): boolean {
    const inForce = this.#session.policy()?.peer;
    if (inForce === undefined || this.#witness?.finish(inForce) !== true) return false;
    this.#finishing = true;
    this.#endWhenIdle();
    return true;
  }

  #endWhenIdle(): void {
    if (this.#witness?.idle !== true) return;
    this.#client.destroySoon();
    this.#server?.destroySoon();
  }
}
