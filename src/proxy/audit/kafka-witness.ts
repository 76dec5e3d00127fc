import type { ByteBudget } from "../byte-budget.ts";
import { KafkaFrames } from "../kafka/frames.ts";
import { kafkaRecord, MAX_REQUEST, UNREADABLE_KAFKA } from "../kafka/record.ts";
import { readRequest } from "../kafka/request.ts";
import { Responses } from "../kafka/responses.ts";
import { KafkaFormatError } from "../kafka/wire.ts";
import { decideKafka } from "../policy/kafka-rules.ts";
import type { Session } from "../session.ts";
import { unreadable, type Witness } from "./witness.ts";

/** Kafka as both sides speak it. The versions a broker offers are lowered here too: only so would rules in force see the topics. */
export class KafkaWitness implements Witness {
  readonly #session: Session;
  readonly #budget: ByteBudget;
  readonly #requests = new KafkaFrames(MAX_REQUEST);
  readonly #responses: Responses;
  #told: Buffer[] = [];
  #lost = false;
  #serverLost = false;
  #finishing = false;

  constructor(session: Session, budget: ByteBudget) {
    this.#session = session;
    this.#budget = budget;
    this.#responses = new Responses((bytes) => this.#told.push(bytes));
  }

  get idle(): boolean {
    return !this.#lost && this.#requests.length === 0 && this.#responses.waiting === 0;
  }

  finish(): boolean {
    this.#finishing ||= !this.#lost && this.#requests.length === 0;
    return this.#finishing;
  }

  fromClient(chunk: Buffer): boolean {
    if (this.#finishing) return false;
    if (this.#lost) return true;
    if (!this.#budget.take(chunk.length)) {
      this.#lose("too many requests are waiting for their rest");
      return true;
    }
    this.#requests.add(chunk);
    while (!this.#lost) {
      const size = this.#requests.nextSize;
      if (size === null) this.#lose("a Kafka request of an impossible size");
      else if (size === undefined || this.#requests.length < size) break;
      else this.#onRequest(this.#take(size));
    }
    return true;
  }

  /** What is held goes back to the budget with the connection. */
  close(): void {
    this.#take(this.#requests.length);
  }

  #take(size: number): Buffer {
    const taken = this.#requests.take(size);
    this.#budget.give(taken.length);
    return taken;
  }

  #onRequest(message: Buffer): void {
    try {
      const request = readRequest(message.subarray(4));
      const audited = this.#session.policy()?.peer.audited;
      const decision = decideKafka(audited?.mine ?? [], request);
      const outcome = decision.allowed
        ? { verdict: "FORWARDED" as const, origins: decision.origins }
        : { verdict: "AUDIT" as const, denied: decision.denied };
      this.#session.record(kafkaRecord(this.#session, request, outcome, 0));
      if (!request.silent) this.#responses.expect(request);
    } catch (thrown) {
      if (!(thrown instanceof KafkaFormatError)) throw thrown;
      this.#lose(thrown.message);
    }
  }

  fromServer(chunk: Buffer): Buffer {
    if (this.#serverLost) return chunk;
    if (this.#responses.waiting === 0) this.#told.push(chunk);
    if (this.#responses.waiting === 0 || !this.#responses.pass(chunk)) {
      this.#serverLost = true;
      this.#told.push(this.#responses.release());
      this.#lose("the server spoke unasked");
    }
    const told = this.#told;
    this.#told = [];
    return Buffer.concat(told);
  }

  #lose(error: string): void {
    if (this.#lost) return;
    this.#lost = true;
    this.close();
    const denied = unreadable(this.#session.policy()?.peer.audited);
    this.#session.record(kafkaRecord(this.#session, UNREADABLE_KAFKA, { verdict: "AUDIT", denied, error }, 0));
  }
}
