import { once } from "node:events";
import type { Socket } from "node:net";
import { CODE, FLAG, FRAME, FRAME_HEAD, FrameReader, PREFACE } from "../http2/frame.ts";
import { HpackDecoder } from "../http2/hpack-decoder.ts";
import { encodeFields } from "../http2/hpack-encoder.ts";
import { hpackField } from "../http2/hpack-table.ts";

export const END = FLAG.endStream | FLAG.endHeaders;

/** One frame of RFC 9113 §4.1. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(FRAME_HEAD);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block that teaches nobody anything. */
export function blockOf(...fields: readonly (readonly [string, string])[]): Buffer {
  return encodeFields(fields.map(([name, value]) => hpackField(name, value)));
}

/** Of a GET with more headers. */
export function requestBlock(path: string, ...more: readonly (readonly [string, string])[]): Buffer {
  return blockOf([":method", "GET"], [":scheme", "http"], [":path", path], [":authority", "web"], ...more);
}

/** Four bytes, as those of a reset or a window. */
export function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** How a client begins. */
export const START = Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]);

/** What somebody heard, in words: `headers 1 200`, `data 1 5 end`, `reset 1 protocolError`, `goaway 3 noError`, … */
export class Heard {
  readonly words: string[];
  readonly bodies = new Map<number, Buffer[]>();
  readonly #frames = new FrameReader();
  readonly #heads = new HpackDecoder({ bytes: 1e6, count: 1000 }, ({ fields }) => fields);

  constructor(words: string[] = []) {
    this.words = words;
  }

  hear(bytes: Buffer): void {
    this.#frames.lend(bytes);
    while (this.#frames.next()) this.words.push(this.#say());
  }

  #say(): string {
    const { input, type, flags, stream, body, end } = this.#frames;
    const last = (flags & FLAG.endStream) !== 0 ? " end" : "";
    const name = Object.entries(FRAME).find(([, known]) => known === type)?.[0] ?? String(type);
    if (type === FRAME.headers) {
      const fields = this.#heads.decode(input, body, end) ?? [];
      return `headers ${stream} ${fields.find((field) => field.name === ":status")?.value ?? "-"}${last}`;
    }
    if (type === FRAME.data) {
      this.bodies.set(stream, [...(this.bodies.get(stream) ?? []), Buffer.from(input.subarray(body, end))]);
      return `data ${stream} ${end - body}${last}`;
    }
    if (type === FRAME.rstStream) return `reset ${stream} ${codeName(input.readUInt32BE(body))}`;
    if (type === FRAME.goaway) return `goaway ${input.readUInt32BE(body)} ${codeName(input.readUInt32BE(body + 4))}`;
    if (type === FRAME.windowUpdate) return `window ${stream} ${input.readUInt32BE(body)}`;
    return `${name}${(flags & FLAG.ack) !== 0 ? " ack" : ""}`;
  }
}

function codeName(code: number): string {
  return Object.entries(CODE).find(([, known]) => known === code)?.[0] ?? String(code);
}

/** Listens to a socket. */
export function listen(socket: Socket): {
  readonly heard: Heard;
  /** Resolves when something like this was heard, or the connection has ended. */
  until(wanted: RegExp): Promise<void>;
  readonly ended: Promise<void>;
} {
  const heard = new Heard();
  let isOver = false;
  const ended = Promise.race([once(socket, "end"), once(socket, "close")]).then(
    () => undefined,
    () => undefined,
  );
  void ended.then(() => {
    isOver = true;
    socket.emit("heard");
  });
  socket.on("data", (bytes: Buffer) => {
    heard.hear(bytes);
    socket.emit("heard");
  });
  return {
    heard,
    ended,
    async until(wanted) {
      while (!isOver && !heard.words.some((word) => wanted.test(word))) await once(socket, "heard");
    },
  };
}
