import type { Socket } from "node:net";
import type { ByteBudget } from "../byte-budget.ts";
import type { ConnectionConfig, ProxiedConnection } from "../connection.ts";
import type { HttpTimeouts } from "../http/session.ts";
import { decideKafka } from "../policy/kafka-rules.ts";
import { resetSocket } from "../reset.ts";
import type { Session } from "../session.ts";
import { denialOf } from "./denial.ts";
import { KafkaFrames } from "./frames.ts";
import { kafkaRecord, MAX_REQUEST, UNREADABLE_KAFKA } from "./record.ts";
import { type KafkaRequest, readRequest } from "./request.ts";
import { Responses } from "./responses.ts";
import { KafkaFormatError } from "./wire.ts";

/**
 * A client of a Kafka broker. Each request is judged by itself: passed on as it is, or answered as a broker with ACLs would. What is no Kafka,
 * or has no such answer, ends the connection.
 */
export class KafkaConnection implements ProxiedConnection {
  readonly #client: Socket;
  readonly #session: Session;
  readonly #timeouts: HttpTimeouts;
  readonly #budget: ByteBudget;
  readonly #requests = new KafkaFrames(MAX_REQUEST);
  readonly #responses: Responses;
  #server: Socket | undefined;
  #lastMoved: number;
  #over = false;
  /** When it ends, if nothing is under way; once that was asked for. */
  #stopAt: number | undefined;

  constructor(client: Socket, session: Session, { timeouts, held }: Pick<ConnectionConfig, "timeouts" | "held">) {
    this.#client = client;
    this.#session = session;
    this.#timeouts = timeouts;
    this.#budget = held;
    this.#lastMoved = session.now();
    this.#responses = new Responses((bytes) => this.#toClient(bytes));
    client.on("data", (chunk: Buffer) => this.#onData(chunk));
    client.on("end", () => this.#server?.end() ?? client.end());
    client.on("drain", () => this.#server?.resume());
    client.on("error", () => this.cut());
    client.on("close", () => this.#onClose());
  }

  cut(): void {
    this.#over = true;
    resetSocket(this.#client);
    if (this.#server !== undefined) resetSocket(this.#server);
  }

  /** There is no word to say that it ends: it is let go once nothing is under way, after a while in which a request may still come in. Clients of Kafka dial again. */
  stop(): void {
    this.#stopAt = this.#session.now() + this.#timeouts.last;
  }

  stillRedirected(): boolean {
    return this.#session.policy() !== null;
  }

  checkDeadline(now: number): void {
    const limit = this.#requests.length > 0 ? this.#timeouts.stall : this.#timeouts.idle;
    if (now - this.#lastMoved > limit) this.cut();
    else this.#endIfStopped();
  }

  #endIfStopped(): void {
    if (this.#stopAt === undefined || this.#session.now() < this.#stopAt || this.#requests.length > 0 || this.#responses.waiting > 0)
      return;
    this.#over = true;
    this.#client.destroySoon();
  }

  #onData(chunk: Buffer): void {
    this.#lastMoved = this.#session.now();
    if (this.#over) return;
    if (!this.#budget.take(chunk.length)) {
      this.#refuse("too many requests are waiting for their rest");
      return;
    }
    this.#requests.add(chunk);
    while (!this.#over) {
      const size = this.#requests.nextSize;
      if (size === undefined || (size !== null && this.#requests.length < size)) return;
      if (size === null) {
        this.#refuse("a Kafka request of an impossible size");
        return;
      }
      this.#budget.give(size);
      this.#onRequest(this.#requests.take(size));
    }
  }

  #onClose(): void {
    this.#over = true;
    this.#budget.give(this.#requests.take(this.#requests.length).length);
    this.#server?.destroySoon();
  }

  #onRequest(message: Buffer): void {
    const request = this.#read(message.subarray(4));
    const policy = request && this.#session.policy();
    if (!policy) {
      this.cut();
      return;
    }
    const decision = decideKafka(policy.peer.mine, request);
    if (decision.allowed) {
      const audited = policy.peer.audited && decideKafka(policy.peer.audited.mine, request);
      if (audited?.allowed === false) this.#record(request, { verdict: "AUDIT", denied: audited.denied }, 0);
      else this.#record(request, { verdict: "FORWARDED", origins: decision.origins }, 0);
      this.#forward(request, message);
      return;
    }
    const denial = denialOf(request);
    this.#record(request, { verdict: "DROPPED", denied: decision.denied }, denial?.errorCode ?? 0);
    if (denial === undefined) this.cut();
    else if (denial.message !== null) this.#responses.answer(denial.message);
  }

  #read(message: Buffer): KafkaRequest | undefined {
    try {
      return readRequest(message);
    } catch (thrown) {
      if (!(thrown instanceof KafkaFormatError)) throw thrown;
      this.#refuse(thrown.message);
      return undefined;
    }
  }

  #forward(request: KafkaRequest, message: Buffer): void {
    const server = this.#server ?? this.#connect();
    if (server === undefined) return;
    if (!request.silent) this.#responses.expect(request);
    if (!server.write(message)) this.#client.pause();
  }

  #connect(): Socket | undefined {
    try {
      const server = this.#session.connect();
      server.on("data", (chunk: Buffer) => this.#onResponse(chunk));
      server.on("drain", () => this.#client.resume());
      server.on("end", () => this.#client.end());
      server.on("error", () => this.cut());
      server.on("close", () => this.#client.destroySoon());
      this.#server = server;
      return server;
    } catch {
      this.cut();
      return undefined;
    }
  }

  #onResponse(chunk: Buffer): void {
    this.#lastMoved = this.#session.now();
    if (!this.#responses.pass(chunk)) this.cut();
    else this.#endIfStopped();
  }

  #toClient(bytes: Buffer): void {
    if (this.#client.writable && !this.#client.write(bytes)) this.#server?.pause();
  }

  #refuse(error: string): void {
    this.#record(UNREADABLE_KAFKA, { verdict: "ERROR", error }, 0);
    this.cut();
  }

  #record(request: KafkaRequest, outcome: Parameters<typeof kafkaRecord>[2], errorCode: number): void {
    this.#session.record(kafkaRecord(this.#session, request, outcome, errorCode));
  }
}
