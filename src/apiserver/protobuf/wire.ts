/** The protobuf wire format: writing single fields, and reading a message field by field. */

export const message = (...fields: readonly Uint8Array[]): Buffer => Buffer.concat(fields);

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

export const varintField = (number: number, value: number | bigint): Buffer => Buffer.concat([varint(number << 3), varint(value)]);

export const bytesField = (number: number, content: Uint8Array): Buffer =>
  Buffer.concat([varint((number << 3) | 2), varint(content.length), content]);

export const stringField = (number: number, text: string): Buffer => bytesField(number, Buffer.from(text));

export interface WireField {
  readonly number: number;
  /** Integers of wire type 0; raw bytes of the others (8, any, or 4 of them). */
  readonly value: bigint | Buffer;
}

/** Reads the fields of a message in order. Throws `RangeError` when the bytes end early or make no sense. */
export function* readFields(bytes: Buffer): Generator<WireField> {
  let at = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("a protobuf message ends in the middle of a number");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new RangeError("a protobuf number is too long");
  };
  const take = (size: number): Buffer => {
    if (at + size > bytes.length) throw new RangeError("a protobuf message ends in the middle of a field");
    at += size;
    return bytes.subarray(at - size, at);
  };
  while (at < bytes.length) {
    const tag = Number(readVarint());
    const number = tag >>> 3;
    const type = tag & 7;
    if (type === 0) yield { number, value: readVarint() };
    else if (type === 2) yield { number, value: take(Number(readVarint())) };
    else if (type === 1) yield { number, value: take(8) };
    else if (type === 5) yield { number, value: take(4) };
    else throw new RangeError(`protobuf wire type ${type} is not known`);
  }
}
