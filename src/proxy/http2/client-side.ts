import { judge } from "../http/judge.ts";
import { ANSWERS_AT_ONCE } from "../http/limits.ts";
import { upstreamFailure } from "../http/local-reply.ts";
import type { HeaderAction } from "../policy/http-rule.ts";
import { BlockReader, type HeaderBlock } from "./block-reader.ts";
import { CODE, type Fault, FLAG, FRAME, type Frame, FrameReader, fault, frameFault, PREFACE, paddingOf } from "./frame.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import type { Relay } from "./relay.ts";
import { ClientBlock, type StreamRequest } from "./request.ts";
import type { ServerSide } from "./server-side.ts";
import { isFault, MAX_STREAMS, readSettings } from "./settings.ts";
import { Stream } from "./stream.ts";

/** What the client's side needs of the connection. */
export interface ServerAccess {
  /** The server's side, when there is one. */
  readonly server: ServerSide | undefined;
  /** Calls the server, for the sake of `host`, if nobody has. Throws when no socket can be made. */
  open(host: string): ServerSide;
  /** The connection is not the proxy's any more. */
  abort(): void;
}

const NO_ACTIONS: readonly HeaderAction[] = [];

/** Reads what the client sends: judges its requests, and passes on what belongs to those that are allowed. */
export class ClientSide {
  readonly #relay: Relay;
  readonly #access: ServerAccess;
  readonly #frames = new FrameReader();
  readonly #blocks = new BlockReader();
  readonly #heads: HpackDecoder<ClientBlock>;
  /** How much of the preface has come. */
  #prefaced = 0;
  #hasSettings = false;
  /** Requests that may still be answered here before other clients are heard. */
  #left = 0;
  /** What has come but waits until other clients were heard. */
  #late: Buffer | undefined;
  /** Bytes of bodies that nobody wanted, which count in the window that the server has opened. */
  #unwanted = 0;

  constructor(relay: Relay, access: ServerAccess) {
    this.#relay = relay;
    this.#access = access;
    const { headBytes, headerCount } = relay.session.limits;
    this.#heads = new HpackDecoder({ bytes: headBytes, count: headerCount }, (list) => new ClientBlock(list));
  }

  /** What has begun must be finished before anything can be understood. */
  get partial(): boolean {
    return !this.#hasSettings || this.#blocks.partial;
  }

  /** More has come than is read at once: `read` goes on with it. */
  get waiting(): boolean {
    return this.#late !== undefined;
  }

  /** Gives why the connection cannot go on, if so. */
  read(bytes: Buffer): Fault | undefined {
    const rest = this.#readPreface(this.#late === undefined ? bytes : Buffer.concat([this.#late, bytes]));
    if (rest === undefined) return fault("protocolError", "not HTTP/2");
    this.#late = undefined;
    this.#frames.lend(rest);
    this.#left = ANSWERS_AT_ONCE;
    while (this.#left > 0 && this.#frames.next()) {
      const wrong = frameFault(this.#frames) ?? this.#onFrame(this.#frames);
      if (wrong !== undefined) return wrong;
    }
    if (this.#left === 0) this.#late = this.#frames.rest();
    if (this.#unwanted > 0) this.#relay.toClient.windowUpdate(0, this.#unwanted);
    this.#unwanted = 0;
    return this.#frames.oversized ? fault("frameSizeError", "a frame too long") : undefined;
  }

  #readPreface(bytes: Buffer): Buffer | undefined {
    if (this.#prefaced === PREFACE.length) return bytes;
    const count = Math.min(bytes.length, PREFACE.length - this.#prefaced);
    if (bytes.compare(PREFACE, this.#prefaced, this.#prefaced + count, 0, count) !== 0) return undefined;
    this.#prefaced += count;
    return bytes.subarray(count);
  }

  #onFrame(frame: Frame): Fault | undefined {
    if (!this.#hasSettings && (frame.type !== FRAME.settings || (frame.flags & FLAG.ack) !== 0))
      return fault("protocolError", "SETTINGS must come first");
    if (this.#blocks.partial && frame.type !== FRAME.continuation) return fault("protocolError", "CONTINUATION must come next");
    switch (frame.type) {
      case FRAME.headers:
      case FRAME.continuation:
        return this.#onHeaders(frame);
      case FRAME.data:
        return this.#onData(frame);
      case FRAME.rstStream:
        return this.#onReset(frame);
      case FRAME.settings:
        return (frame.flags & FLAG.ack) === 0 ? this.#onSettings(frame) : this.#onAcknowledgement(frame);
      case FRAME.windowUpdate:
        return this.#onWindowUpdate(frame);
      case FRAME.ping:
        this.#onPing(frame);
        return undefined;
      case FRAME.goaway:
        this.#relay.limit = Math.min(this.#relay.limit, this.#relay.last);
        this.#access.server?.pass(frame);
        return undefined;
      default:
        // Priorities, and what nobody knows (RFC 9113 §5.5).
        return undefined;
    }
  }

  #onHeaders(frame: Frame): Fault | undefined {
    const block = this.#blocks.read(frame);
    if (block === undefined) return frame.end > frame.body ? undefined : this.#bear("empty frames of a header block");
    if ("code" in block) return block;
    const head = this.#heads.decode(block.block, block.start, block.end);
    if (head === undefined) return fault("compressionError", "a header block that cannot be read");
    const stream = this.#relay.streams.get(block.stream);
    if (stream !== undefined) return this.#onTrailers(stream, block, head);
    if (block.stream % 2 === 0) return fault("protocolError", "a request with a number of the server's");
    if (this.#relay.answered.delete(block.stream)) return undefined;
    // Trailers that come too late for a request that was reset.
    if (block.stream <= this.#relay.last) return this.#bear("headers of streams that have ended");
    this.#relay.last = block.stream;
    return this.#onRequest(block, head);
  }

  #onRequest({ stream: id, endStream }: HeaderBlock, head: ClientBlock): Fault | undefined {
    const relay = this.#relay;
    if (id > relay.limit || relay.load >= MAX_STREAMS) return this.#refuse(id, CODE.refusedStream);
    const { request, asker } = head;
    if ("malformed" in request) return this.#refuse(id, CODE.protocolError);
    if ("status" in request) {
      this.#left--;
      relay.answer(id, endStream, asker, request.status, `${request.reason}\r\n`);
      return undefined;
    }
    const judged = judge(relay.session, request.asked);
    if (judged === null) {
      this.#access.abort();
      return fault("noError", "no policy");
    }
    const { exchange, actions } = judged;
    if (actions === undefined) {
      this.#left--;
      const { body, headers } = relay.session.denied;
      relay.answer(id, endStream, asker, 403, body, headers);
      return undefined;
    }
    const stream = new Stream(id, exchange, asker, request.length, relay.session.now());
    return this.#forward(stream, endStream, request, head.encoded(actions));
  }

  #forward(stream: Stream, endStream: boolean, { asked }: StreamRequest, block: Buffer): Fault | undefined {
    if (!stream.read(0, endStream, stream.movedAt)) return this.#refuse(stream.id, CODE.protocolError);
    try {
      this.#access.open(asked.request.host).headers(stream.id, block, endStream);
      this.#relay.streams.set(stream.id, stream);
    } catch (thrown) {
      this.#relay.fail(stream, 503, upstreamFailure((thrown as NodeJS.ErrnoException).code));
    }
    return undefined;
  }

  #onTrailers(stream: Stream, { endStream }: HeaderBlock, head: ClientBlock): Fault | undefined {
    if (stream.requestDone) return fault("streamClosed", "headers behind the end of a request");
    const decided = this.#relay.session.policy()?.rules.headerNames ?? new Set();
    if (!endStream || head.trailersFault(decided) !== undefined || !stream.read(0, true, this.#relay.session.now()))
      return this.#break(stream, CODE.protocolError);
    this.#access.server?.headers(stream.id, head.encoded(NO_ACTIONS), true);
    this.#relay.settle(stream);
    return undefined;
  }

  #onData(frame: Frame): Fault | undefined {
    const { stream: id, flags, body, end } = frame;
    const padding = paddingOf(frame);
    if (padding === undefined) return fault("protocolError", "more padding than there is");
    if (this.#isIdle(id)) return fault("protocolError", "a body of a request that never was");
    const isEnd = (flags & FLAG.endStream) !== 0;
    const length = end - body - ((flags & FLAG.padded) === 0 ? 0 : 1 + padding);
    const stream = this.#relay.streams.get(id);
    if (stream === undefined) this.#throwAway(id, end - body, isEnd);
    else if (stream.requestDone) return fault("streamClosed", "a body behind the end of a request");
    else if (stream.read(length, isEnd, this.#relay.session.now())) {
      this.#access.server?.passBody(frame);
      this.#relay.settle(stream);
    } else {
      this.#unwanted += end - body;
      return this.#break(stream, CODE.protocolError);
    }
    return length > 0 || isEnd ? undefined : this.#bear("empty frames of a body");
  }

  #throwAway(id: number, bytes: number, isEnd: boolean): void {
    this.#unwanted += bytes;
    if (isEnd) this.#relay.answered.delete(id);
    else if (bytes > 0 && this.#relay.answered.has(id)) this.#relay.toClient.windowUpdate(id, bytes);
  }

  #onReset(frame: Frame): Fault | undefined {
    if (this.#isIdle(frame.stream)) return fault("protocolError", "a reset of a request that never was");
    const stream = this.#relay.streams.get(frame.stream);
    if (stream !== undefined) {
      this.#access.server?.pass(frame);
      this.#relay.streams.delete(stream.id);
    }
    const isAnswered = this.#relay.answered.delete(frame.stream) || stream?.answered === true;
    return isAnswered ? undefined : this.#bear("requests taken back");
  }

  #onSettings(frame: Frame): Fault | undefined {
    const settings = readSettings(frame);
    if (isFault(settings)) return settings;
    const relay = this.#relay;
    relay.learnSettings(settings);
    if (this.#access.server?.tellSettings(settings) !== true) {
      relay.toClient.frame(FRAME.settings, FLAG.ack, 0);
      relay.applySettings(settings);
    }
    if (this.#hasSettings) return this.#bear("settings");
    this.#hasSettings = true;
    this.#access.server?.greet();
    return undefined;
  }

  #onAcknowledgement(frame: Frame): Fault | undefined {
    const whose = this.#relay.unacknowledged.shift();
    if (whose === undefined) return fault("protocolError", "an acknowledgement of no settings");
    if (whose === "server's") this.#access.server?.pass(frame);
    return undefined;
  }

  #onWindowUpdate(frame: Frame): Fault | undefined {
    const { stream: id, input, body } = frame;
    const bytes = input.readUInt32BE(body) & 0x7fff_ffff;
    if (this.#isIdle(id)) return fault("protocolError", "a window of a request that never was");
    if (id === 0) {
      if (bytes === 0) return fault("protocolError", "a window that grows by nothing");
      if (!this.#relay.window.grant(bytes)) return fault("flowControlError", "a window too big");
      this.#access.server?.tellWindow();
      return undefined;
    }
    const stream = this.#relay.streams.get(id);
    if (stream !== undefined && bytes === 0) return this.#break(stream, CODE.protocolError);
    if (stream !== undefined) this.#access.server?.pass(frame);
    return undefined;
  }

  /** Between the two ends, once there is a server: that they live is theirs to say. */
  #onPing(frame: Frame): void {
    const { server } = this.#access;
    if (server?.connected === true) server.pass(frame);
    else if ((frame.flags & FLAG.ack) === 0)
      this.#relay.toClient.frame(FRAME.ping, FLAG.ack, 0, frame.input.subarray(frame.body, frame.end));
  }

  #isIdle(id: number): boolean {
    return id !== 0 && (id > this.#relay.last || id % 2 === 0);
  }

  #refuse(id: number, code: number): Fault | undefined {
    this.#relay.toClient.reset(id, code);
    return this.#bear("requests that are none");
  }

  /** Ends a stream that both sides know. */
  #break(stream: Stream, code: number): Fault | undefined {
    this.#relay.streams.delete(stream.id);
    this.#access.server?.reset(stream.id, code);
    return this.#refuse(stream.id, code);
  }

  #bear(what: string): Fault | undefined {
    return this.#relay.patience.spend() ? undefined : fault("enhanceYourCalm", `too many ${what}`);
  }
}
