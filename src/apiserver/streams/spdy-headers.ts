import { constants, createDeflate, createInflate, type Deflate, type Inflate } from "node:zlib";
import { SPDY_DICTIONARY } from "./spdy-dictionary.ts";

export type Headers = Readonly<Record<string, string>>;

/** Compresses and reads header blocks. Both directions keep their state over the connection, so blocks must come in order. */
export interface HeaderCodec {
  encode(headers: Headers): Promise<Buffer>;
  decode(block: Buffer): Promise<Headers>;
  close(): void;
}

/** A header block may not unpack to more than this. */
const LIMIT = 64 * 1024;

export function createHeaderCodec(): HeaderCodec {
  const deflate = createDeflate({ dictionary: SPDY_DICTIONARY });
  const inflate = createInflate({ dictionary: SPDY_DICTIONARY });
  return {
    encode: (headers) => pass(deflate, encodePairs(headers)),
    async decode(block) {
      return decodePairs(await pass(inflate, block));
    },
    close() {
      deflate.destroy();
      inflate.destroy();
    },
  };
}

/** What comes out of a zlib stream for one input, flushed. */
function pass(stream: Deflate | Inflate, input: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = (error?: Error) => {
      stream.off("data", take);
      stream.off("error", finish);
      if (error || size > LIMIT) reject(error ?? new RangeError("a SPDY header block is too large"));
      else resolve(Buffer.concat(chunks));
    };
    const take = (chunk: Buffer) => {
      size += chunk.length;
      if (size <= LIMIT) chunks.push(chunk);
    };
    stream.on("data", take);
    stream.once("error", finish);
    stream.write(input);
    stream.flush(constants.Z_SYNC_FLUSH, () => finish());
  });
}

function encodePairs(headers: Headers): Buffer {
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const pairs = Object.entries(headers);
  const text = (value: string) => [number(Buffer.byteLength(value)), Buffer.from(value)];
  return Buffer.concat([number(pairs.length), ...pairs.flatMap(([name, value]) => [...text(name), ...text(value)])]);
}

function decodePairs(block: Buffer): Headers {
  let at = 4;
  const text = () => {
    const size = block.readUInt32BE(at);
    const value = block.toString("utf8", at + 4, at + 4 + size);
    at += 4 + size;
    return value;
  };
  const headers: Record<string, string> = {};
  for (let left = block.readUInt32BE(0); left > 0; left--) {
    const name = text().toLowerCase();
    headers[name] = text();
  }
  return headers;
}
