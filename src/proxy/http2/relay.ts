import type { DeniedReply } from "../http/local-reply.ts";
import type { HttpSession } from "../http/session.ts";
import { ClientWindow } from "./client-window.ts";
import { CODE, FIRST_WINDOW, FRAME, MAX_WINDOW } from "./frame.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import { encodeFields, encodeTableSize } from "./hpack-encoder.ts";
import { type HpackField, TABLE_BYTES } from "./hpack-table.ts";
import { type Asker, grpcTrailers, localAnswer } from "./local-answer.ts";
import { Outbox } from "./outbox.ts";
import { Patience } from "./patience.ts";
import { readAnswer, type StreamAnswer } from "./response.ts";
import { firstSettings, lastValue, NO_PUSH, SETTING, type Setting, settingsForServer, writeSettings } from "./settings.ts";
import type { Stream } from "./stream.ts";

/** What both sides of a connection know: its streams, and what the client has been told and allows. */
export class Relay {
  readonly session: HttpSession;
  readonly toClient: Outbox;
  /** The requests that the server knows, by number, oldest first. */
  readonly streams = new Map<number, Stream>();
  readonly window = new ClientWindow();
  readonly patience: Patience;
  /** Reads what the server answers, with the table that the client has. */
  readonly answers: HpackDecoder<StreamAnswer>;
  /** Requests that were answered here before the client had said all; it may say the rest. */
  readonly answered = new Set<number>();
  /** The highest number that the client has used. */
  last = 0;
  /** Requests beyond this number are refused: the client may ask them elsewhere. */
  limit = MAX_WINDOW;
  /** Whose settings the client has not acknowledged yet, oldest first. */
  readonly unacknowledged: ("ours" | "server's")[] = [];
  readonly #clientSettings = new Map<number, number>();

  constructor(session: HttpSession, toClient: (bytes: Buffer) => void) {
    this.session = session;
    this.toClient = new Outbox(toClient);
    this.patience = new Patience(session.now);
    // What a server answers is the client's to judge; only what a record may need of it is kept.
    this.answers = new HpackDecoder({ bytes: session.limits.headBytes, count: session.limits.headerCount }, readAnswer);
    this.tellSettings("ours", firstSettings(session.limits.headBytes));
  }

  /** SETTINGS to the client. */
  tellSettings(whose: "ours" | "server's", settings: readonly Setting[]): void {
    this.unacknowledged.push(whose);
    this.toClient.frame(FRAME.settings, 0, 0, writeSettings(settings));
  }

  /** Remembers what the client has set. */
  learnSettings(settings: readonly Setting[]): void {
    for (const [id, value] of settings) this.#clientSettings.set(id, value);
  }

  /** All that the client has set so far, for a server that knows nothing yet. */
  get settingsForServer(): readonly Setting[] {
    return [...settingsForServer([...this.#clientSettings]), NO_PUSH];
  }

  /** Whoever answers has acknowledged settings of the client: the table that answers are read with is as they say. */
  applySettings(settings: readonly Setting[]): void {
    const table = lastValue(settings, SETTING.tableSize);
    if (table !== undefined) this.answers.allow(Math.min(table, TABLE_BYTES));
  }

  /** Requests under way. */
  get load(): number {
    return this.streams.size + this.answered.size;
  }

  /** Answers a request in the server's place. What else belongs to it is thrown away: not all clients take a reset without an error for what it is. */
  answer(id: number, requestDone: boolean, asker: Asker, code: number, text: string, more?: DeniedReply["headers"]): void {
    const room = Math.min(this.window.left, this.#clientSettings.get(SETTING.initialWindow) ?? FIRST_WINDOW);
    const { fields, body } = localAnswer(code, text, asker, room, more);
    this.toClient.headers(id, this.#encode(fields), body.length === 0);
    this.toClient.body(id, body);
    this.window.use(body.length);
    if (!requestDone) this.answered.add(id);
  }

  /** The server will not answer this one; it is forgotten, and recorded as failed. */
  fail(stream: Stream, code: number, text: string): void {
    const { session } = this;
    this.streams.delete(stream.id);
    session.record(stream.exchange.errorRecord(session.scope(), code, text));
    this.answer(stream.id, stream.requestDone, stream.asker, code, text);
  }

  /** Nobody finishes this one any more. A gRPC client is told so in its own words: without a status it would take its call for broken, and not try again. */
  abandon(stream: Stream, code: number, text: string): void {
    if (!stream.answered) {
      this.fail(stream, code, text);
      return;
    }
    this.streams.delete(stream.id);
    if (stream.responseDone) return;
    if (stream.asker.grpc) this.toClient.headers(stream.id, this.#encode(grpcTrailers(code, text)), true);
    else this.toClient.reset(stream.id, CODE.internalError);
  }

  #encode(fields: readonly HpackField[]): Buffer {
    const block = encodeFields(fields);
    const { shrinkTo } = this.answers;
    return shrinkTo === undefined ? block : Buffer.concat([encodeTableSize(shrinkTo), block]);
  }

  /** Nothing is under way, and nothing more will be. */
  get isOver(): boolean {
    return this.streams.size === 0 && this.limit < MAX_WINDOW;
  }

  /** Forgets a stream that both sides have ended. */
  settle(stream: Stream): void {
    if (!stream.requestDone || !stream.responseDone) return;
    this.streams.delete(stream.id);
    this.patience.earn();
  }
}
