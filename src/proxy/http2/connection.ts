import type { Exchange } from "../http/exchange.ts";
import { timeoutAnswer, upstreamFailure } from "../http/local-reply.ts";
import type { HttpSession } from "../http/session.ts";
import { ServerConnection, type ServerEvents } from "../server-connection.ts";
import { ClientSide } from "./client-side.ts";
import { CODE, type Fault, MAX_WINDOW } from "./frame.ts";
import { Relay } from "./relay.ts";
import { ServerReader } from "./server-reader.ts";
import { ServerSide } from "./server-side.ts";
import { Stream } from "./stream.ts";

/** The connection of a client, as far as HTTP/2 needs it. */
export interface ClientConnection {
  /** False: it takes no more until `writable` is told. */
  write(bytes: Buffer): boolean;
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. */
  close(): void;
  /** Resets it, and this with it. */
  abort(): void;
}

/** A change from HTTP/1.1 that both sides have agreed to. */
export interface Upgraded {
  /** What the client asked in HTTP/1.1, which is its stream 1. */
  readonly exchange: Exchange;
  /** The connection to the server, which knows of stream 1, too. */
  readonly server: ServerConnection;
}

const EMPTY = Buffer.alloc(0);

/**
 * A client that speaks HTTP/2, and its one connection to the server. Frames go from one to the other as they are, with the same numbers of streams and the
 * windows that the two ends open to each other; requests are read, judged and said again. The server is called for the first that is allowed.
 */
export class Http2Connection {
  readonly #client: ClientConnection;
  readonly #session: HttpSession;
  readonly #relay: Relay;
  readonly #fromClient: ClientSide;
  #server: ServerSide | undefined;
  #fromServer: ServerReader | undefined;
  #clientFull = false;
  #resting = false;
  #isOver = false;
  #idleSince: number;
  /** When nothing more is taken, once that was asked for. */
  #stopAt: number | undefined;
  /** Since when something has begun that must be finished before anything else is read. */
  #partialSince: number | undefined;

  constructor(client: ClientConnection, session: HttpSession, upgraded?: Upgraded) {
    this.#client = client;
    this.#session = session;
    this.#idleSince = session.now();
    this.#relay = new Relay(session, (bytes) => {
      if (!client.write(bytes)) this.#clientFull = true;
    });
    const server = () => this.#server;
    this.#fromClient = new ClientSide(this.#relay, {
      get server() {
        return server();
      },
      open: (host) => this.#open(host),
      abort: () => client.abort(),
    });
    if (upgraded !== undefined) this.#adopt(upgraded);
    this.#settle();
  }

  read(bytes: Buffer): void {
    if (this.#isOver) return;
    const wrong = this.#fromClient.read(bytes);
    if (wrong !== undefined) this.#fail(wrong);
    else this.#settle();
    // Who does not take our answers is not listened to: its questions would pile them up.
    if (this.#clientFull) this.#client.pause();
    this.#partialSince = this.#fromClient.partial ? (this.#partialSince ?? this.#session.now()) : undefined;
    if (this.#fromClient.waiting) this.#rest();
  }

  /** Goes on with what has come when others were heard. */
  #rest(): void {
    if (this.#resting) return;
    this.#resting = true;
    this.#client.pause();
    setImmediate(() => {
      this.#resting = false;
      this.read(EMPTY);
    });
  }

  /** What was written to the client has been sent. */
  writable(): void {
    this.#clientFull = false;
    this.#settle();
  }

  /** The client has closed. */
  end(): void {
    if (!this.#isOver) this.#close();
  }

  /** Asks the client to begin nothing more; what is on its way already is served for a while. */
  stop(): void {
    if (this.#isOver || this.#stopAt !== undefined) return;
    this.#stopAt = this.#session.now() + this.#session.timeouts.last;
    this.#relay.toClient.goaway(MAX_WINDOW, CODE.noError, "");
    this.#settle();
  }

  /** Finishes the streams that are open and takes no new ones. */
  #finish(): void {
    this.#stopAt = Number.POSITIVE_INFINITY;
    this.#relay.limit = Math.min(this.#relay.limit, this.#relay.last);
    this.#sayGoodbye({ code: CODE.noError, reason: "" });
    this.#settle();
  }

  /** Ends all that is under way, in the client's words: its connection is to end now. */
  giveUp(): void {
    if (this.#isOver) return;
    this.#abandonAll("connection ended by the proxy");
    this.#relay.toClient.flush();
  }

  #abandonAll(text: string): void {
    for (const stream of [...this.#relay.streams.values()]) this.#relay.abandon(stream, 503, text);
  }

  /** Ends the server's side, and says goodbye to the client, whose connection its owner ends now. */
  destroy(reset: boolean): void {
    if (!this.#isOver) this.#sayGoodbye({ code: CODE.noError, reason: "" });
    this.#isOver = true;
    this.#server?.destroy(reset);
  }

  checkDeadline(now: number): void {
    if (this.#isOver) return;
    const { timeouts } = this.#session;
    const { streams } = this.#relay;
    if (streams.size > 0) this.#idleSince = now;
    if (this.#partialSince !== undefined && now - this.#partialSince > timeouts.head) {
      this.#fail({ code: CODE.enhanceYourCalm, reason: "not complete in time" });
    } else if (now - this.#idleSince > timeouts.idle || now >= (this.#stopAt ?? Number.POSITIVE_INFINITY)) this.#finish();
    else {
      const late = [...streams.values()].filter(({ answered, movedAt }) => !answered && now - movedAt > timeouts.response);
      for (const stream of late) this.#giveUp(stream);
      if (late.length > 0) this.#settle();
    }
  }

  #giveUp(stream: Stream): void {
    this.#server?.reset(stream.id, CODE.cancel);
    this.#relay.fail(stream, ...timeoutAnswer(this.#server));
  }

  #open(host: string): ServerSide {
    if (this.#server !== undefined) return this.#server;
    const connection = new ServerConnection(this.#session.connect(host, "h2"), this.#session.timeouts.connect, this.#serverEvents());
    const server = this.#begin(connection);
    server.greet();
    return server;
  }

  #adopt({ exchange, server }: Upgraded): void {
    const stream = new Stream(1, exchange, { method: exchange.request.method, grpc: false }, undefined, this.#session.now());
    stream.requestDone = true;
    this.#relay.streams.set(1, stream);
    this.#relay.last = 1;
    server.tell(this.#serverEvents());
    this.#begin(server);
  }

  #begin(connection: ServerConnection): ServerSide {
    const server = new ServerSide(this.#relay, connection);
    this.#server = server;
    this.#fromServer = new ServerReader(this.#relay, server);
    return server;
  }

  #serverEvents(): ServerEvents {
    return {
      data: (bytes) => this.readServer(bytes),
      end: () => this.#onServerGone(undefined),
      writable: () => {
        if (this.#server !== undefined) this.#server.full = false;
        this.#settle();
      },
      gone: (error) => this.#onServerGone(error),
    };
  }

  /** What has come from the server. */
  readServer(bytes: Buffer): void {
    const wrong = this.#fromServer?.read(bytes);
    if (wrong !== undefined) this.#onBadServer(wrong);
    this.#settle();
  }

  #onBadServer({ code, reason }: Fault): void {
    this.#server?.close(code, reason);
    this.#onServerGone(undefined);
  }

  /** Requests without an answer get ours. A client that has spoken with the server cannot go on with another: it is let go. */
  #onServerGone(error: NodeJS.ErrnoException | undefined): void {
    const server = this.#server;
    if (server === undefined || this.#isOver) return;
    this.#server = undefined;
    this.#fromServer = undefined;
    this.#abandonAll(upstreamFailure(error?.code));
    if (server.connected) this.#finish();
    else server.replace();
    server.close(CODE.noError, "");
    this.#settle();
  }

  /** The client has done what it must not. */
  #fail(why: Fault): void {
    if (this.#isOver) return;
    this.#sayGoodbye(why);
    this.#close();
    // Whatever else it has to say.
    this.#client.pause();
  }

  #sayGoodbye({ code, reason }: Fault): void {
    this.#relay.toClient.goaway(this.#relay.last, code, reason);
    this.#relay.toClient.flush();
  }

  #close(): void {
    this.#isOver = true;
    this.#relay.toClient.flush();
    this.#server?.close(CODE.noError, "");
    this.#client.close();
  }

  /** Sends what was gathered; each side is read as long as the other takes what it says. */
  #settle(): void {
    if (this.#isOver) return;
    const wrong = this.#fromServer?.readLate();
    if (wrong !== undefined) this.#onBadServer(wrong);
    this.#server?.flush();
    this.#relay.toClient.flush();
    if (this.#relay.isOver) this.#close();
    else this.#pace();
  }

  #pace(): void {
    const server = this.#server;
    if (server?.full === true || this.#fromClient.waiting) this.#client.pause();
    else if (!this.#clientFull) this.#client.resume();
    if (this.#clientFull || this.#fromServer?.waiting === true) server?.pause();
    else server?.resume();
  }
}
