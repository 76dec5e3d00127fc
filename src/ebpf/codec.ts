/** How a value lies in memory. `encode` writes every byte of `size`; `decode` gives a value that does not share memory with `from`, an event's packet aside. */
export interface Codec<T> {
  readonly size: number;
  encode(value: T, into: Buffer, offset: number): void;
  decode(from: Buffer, offset: number): T;
}

export const u8: Codec<number> = {
  size: 1,
  encode: (value, into, offset) => void into.writeUInt8(value, offset),
  decode: (from, offset) => from.readUInt8(offset),
};

export const u16: Codec<number> = {
  size: 2,
  encode: (value, into, offset) => void into.writeUInt16LE(value, offset),
  decode: (from, offset) => from.readUInt16LE(offset),
};

export const u32: Codec<number> = {
  size: 4,
  encode: (value, into, offset) => void into.writeUInt32LE(value, offset),
  decode: (from, offset) => from.readUInt32LE(offset),
};

export const u64: Codec<bigint> = {
  size: 8,
  encode: (value, into, offset) => void into.writeBigUInt64LE(value, offset),
  decode: (from, offset) => from.readBigUInt64LE(offset),
};

/** Exactly `size` bytes. */
export function bytes(size: number): Codec<Uint8Array> {
  return {
    size,
    encode: (value, into, offset) => writeBytes(value, into, offset, size),
    decode: (from, offset) => readBytes(from, offset, size),
  };
}

/** The value in a buffer of its own. */
export function toBuffer<T>(codec: Codec<T>, value: T): Buffer {
  const buffer = Buffer.alloc(codec.size);
  codec.encode(value, buffer, 0);
  return buffer;
}

export function writeBytes(value: Uint8Array, into: Buffer, offset: number, size: number): void {
  if (value.length !== size) throw new RangeError(`${value.length} bytes where ${size} belong`);
  into.set(value, offset);
}

export function readBytes(from: Buffer, offset: number, size: number): Uint8Array {
  const copy = new Uint8Array(size);
  for (let i = 0; i < size; i++) copy[i] = from[offset + i] as number;
  return copy;
}

/** The bytes where they lie. */
export function viewBytes(from: Buffer, offset: number, size: number): Uint8Array {
  return new Uint8Array(from.buffer, from.byteOffset + offset, size);
}

/** Exactly `count` items, one after the other. */
export function writeEach<T>(codec: Codec<T>, items: readonly T[], into: Buffer, offset: number, count: number): void {
  if (items.length !== count) throw new RangeError(`${items.length} items where ${count} belong`);
  for (const [i, item] of items.entries()) codec.encode(item, into, offset + i * codec.size);
}

export function readEach<T>(codec: Codec<T>, from: Buffer, offset: number, count: number): T[] {
  return Array.from({ length: count }, (_, i) => codec.decode(from, offset + i * codec.size));
}
