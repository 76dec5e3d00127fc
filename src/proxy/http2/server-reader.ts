import { upstreamFailure } from "../http/local-reply.ts";
import { BlockReader, type HeaderBlock } from "./block-reader.ts";
import { CODE, type Fault, FLAG, FRAME, type Frame, FrameReader, fault, frameFault } from "./frame.ts";
import type { Relay } from "./relay.ts";
import type { StreamAnswer } from "./response.ts";
import type { ServerSide } from "./server-side.ts";
import { isFault, readSettings, settingsForClient } from "./settings.ts";
import type { Stream } from "./stream.ts";

/** Reads what the server sends: answers are recorded, and everything is passed on to the client. */
export class ServerReader {
  readonly #relay: Relay;
  readonly #server: ServerSide;
  readonly #frames = new FrameReader();
  readonly #blocks = new BlockReader();
  #hasSettings = false;
  /** What has come but must wait until the client has room for it. */
  #late: Buffer | undefined;

  constructor(relay: Relay, server: ServerSide) {
    this.#relay = relay;
    this.#server = server;
  }

  get waiting(): boolean {
    return this.#late !== undefined;
  }

  /** What waited, as far as the client has room for it now. */
  readLate(): Fault | undefined {
    const late = this.#late;
    this.#late = undefined;
    return late === undefined ? undefined : this.read(late);
  }

  /** Gives why the connection cannot go on, if so. */
  read(bytes: Buffer): Fault | undefined {
    if (this.#late !== undefined) {
      this.#late = Buffer.concat([this.#late, bytes]);
      return undefined;
    }
    this.#frames.lend(bytes);
    while (this.#frames.next()) {
      const wrong = frameFault(this.#frames) ?? this.#onFrame(this.#frames);
      if (wrong !== undefined) return wrong;
      if (this.#late !== undefined) return undefined;
    }
    return this.#frames.oversized ? fault("frameSizeError", "a frame too long") : undefined;
  }

  #onFrame(frame: Frame): Fault | undefined {
    const { type, flags } = frame;
    if (!this.#hasSettings && (type !== FRAME.settings || (flags & FLAG.ack) !== 0))
      return fault("protocolError", "SETTINGS must come first");
    if (this.#blocks.partial && type !== FRAME.continuation) return fault("protocolError", "CONTINUATION must come next");
    switch (type) {
      case FRAME.headers:
      case FRAME.continuation:
        return this.#onHeaders(frame);
      case FRAME.data:
        return this.#onData(frame);
      case FRAME.rstStream:
        return this.#onReset(frame);
      case FRAME.settings:
        return (flags & FLAG.ack) === 0 ? this.#onSettings(frame) : this.#onAcknowledgement(frame);
      case FRAME.goaway:
        this.#onGoaway(frame);
        return undefined;
      case FRAME.windowUpdate:
        if (frame.stream === 0 || this.#relay.streams.has(frame.stream)) this.#toClient(frame);
        return undefined;
      case FRAME.ping:
        this.#toClient(frame);
        return undefined;
      default:
        return undefined;
    }
  }

  /** Passed on even where nobody waits for it: it may change the client's table. */
  #onHeaders(frame: Frame): Fault | undefined {
    const block = this.#blocks.read(frame);
    if (block === undefined) return undefined;
    if ("code" in block) return block;
    if (this.#isIdle(block.stream)) return fault("protocolError", "an answer to a request that never was");
    const head = this.#relay.answers.decode(block.block, block.start, block.end);
    if (head === undefined) return fault("compressionError", "a header block that cannot be read");
    this.#relay.toClient.pass(block.frames, block.from, block.to);
    const stream = this.#relay.streams.get(block.stream);
    if (stream !== undefined) this.#onAnswer(stream, block, head);
    return undefined;
  }

  #onAnswer(stream: Stream, { endStream }: HeaderBlock, { code, answer }: StreamAnswer): void {
    const { session } = this.#relay;
    const { exchange } = stream;
    const isInterim = code < 200 && !endStream;
    if (isInterim && ++exchange.interimResponses > session.limits.interimResponses) {
      this.#break(stream);
      return;
    }
    if (!stream.answered && Number.isNaN(code)) {
      this.#break(stream);
      return;
    }
    if (!isInterim && !stream.answered) {
      stream.answered = true;
      session.record(exchange.responseRecord(session.scope(), answer));
    }
    this.#end(stream, endStream);
  }

  #onData(frame: Frame): Fault | undefined {
    const { stream: id, flags, body, end } = frame;
    if (this.#isIdle(id)) return fault("protocolError", "a body to a request that never was");
    const stream = this.#relay.streams.get(id);
    if (stream === undefined || !stream.answered) {
      this.#server.giveBack(end - body);
      if (stream !== undefined) this.#break(stream);
      return undefined;
    }
    const { window } = this.#relay;
    if (window.mustWait(end - body)) {
      this.#late = this.#frames.unread();
      return undefined;
    }
    window.pass(end - body);
    this.#toClient(frame);
    this.#end(stream, (flags & FLAG.endStream) !== 0);
    return undefined;
  }

  #onReset(frame: Frame): Fault | undefined {
    const { stream: id, input, body } = frame;
    if (this.#isIdle(id)) return fault("protocolError", "a reset of a request that never was");
    const stream = this.#relay.streams.get(id);
    if (stream === undefined) return undefined;
    if (stream.answered || input.readUInt32BE(body) === CODE.refusedStream) this.#drop(stream, frame);
    else this.#relay.fail(stream, 503, upstreamFailure(undefined));
    return undefined;
  }

  #drop(stream: Stream, frame: Frame): void {
    const { session } = this.#relay;
    this.#relay.streams.delete(stream.id);
    if (!stream.answered) session.record(stream.exchange.errorRecord(session.scope(), 503, upstreamFailure(undefined)));
    this.#toClient(frame);
  }

  #onSettings(frame: Frame): Fault | undefined {
    const settings = readSettings(frame);
    if (isFault(settings)) return settings;
    this.#hasSettings = true;
    this.#relay.tellSettings("server's", settingsForClient(settings, this.#relay.session.limits.headBytes));
    return undefined;
  }

  #onAcknowledgement(frame: Frame): Fault | undefined {
    const first = this.#server.acknowledged();
    if (first === undefined) return fault("protocolError", "an acknowledgement of no settings");
    if (!first.isClients) return undefined;
    this.#relay.applySettings(first.settings);
    this.#toClient(frame);
    return undefined;
  }

  /** It will not answer requests beyond a number: the client is told, and may ask them elsewhere. */
  #onGoaway({ input, body, end }: Frame): void {
    const relay = this.#relay;
    const { session } = relay;
    const last = input.readUInt32BE(body) & 0x7fff_ffff;
    relay.limit = Math.min(relay.limit, last);
    for (const stream of relay.streams.values()) {
      if (stream.id <= last) continue;
      relay.streams.delete(stream.id);
      session.record(stream.exchange.errorRecord(session.scope(), 503, upstreamFailure(undefined)));
      relay.toClient.reset(stream.id, CODE.refusedStream);
    }
    relay.toClient.goaway(last, input.readUInt32BE(body + 4), input.toString("latin1", body + 8, end));
  }

  #toClient({ input, start, end }: Frame): void {
    this.#relay.toClient.pass(input, start, end);
  }

  #end(stream: Stream, isEnd: boolean): void {
    if (!isEnd) return;
    stream.responseDone = true;
    this.#relay.settle(stream);
  }

  #isIdle(id: number): boolean {
    return id > this.#relay.last || id % 2 === 0;
  }

  /** What the server says to this request is no HTTP. */
  #break(stream: Stream): void {
    this.#server.reset(stream.id, CODE.protocolError);
    this.#relay.toClient.reset(stream.id, CODE.protocolError);
    this.#relay.streams.delete(stream.id);
  }
}
