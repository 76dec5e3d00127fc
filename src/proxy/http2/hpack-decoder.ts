import { FieldTable, type HpackField, hpackField, sizeOf, TABLE_BYTES } from "./hpack-table.ts";
import { decodeHuffman } from "./huffman.ts";

/** The fields of a header block, in their order. */
export interface FieldList {
  readonly fields: readonly HpackField[];
  /** There were more than the limits allow: the rest was read, since it may change the table, and thrown away. */
  readonly tooLong: boolean;
}

export interface ListLimits {
  /** Names, values and 32 bytes for each (RFC 9113 §6.5.2). */
  readonly bytes: number;
  readonly count: number;
}

/** Blocks up to this length are remembered, and so many. */
const [MAX_KNOWN_BYTES, MAX_KNOWN] = [512, 16];
/** Lists longer than the limit are read to their end, but no longer than this: a few bytes can ask for more than anybody can mean. */
const MAX_LIST = 1 << 20;
/** Numbers in a block have at most so many bits behind their prefix. */
const MAX_NUMBER_BITS = 28;

/** Reads the header blocks of one direction (RFC 7541). The same block again is the same result, as long as the table has not changed. */
export class HpackDecoder<T> {
  /** The size, smaller than it was, with which the next block must begin, also one that uses no table (RFC 7541 §4.2). */
  shrinkTo: number | undefined;
  readonly #table = new FieldTable();
  readonly #limits: ListLimits;
  readonly #make: (list: FieldList) => T;
  readonly #known = new Map<string, T>();
  #maxTable = TABLE_BYTES;

  /** `make`: what is to be known of a block, kept with it. */
  constructor(limits: ListLimits, make: (list: FieldList) => T) {
    this.#limits = limits;
    this.#make = make;
  }

  /** The table that was allowed from now on. */
  allow(tableBytes: number): void {
    this.#maxTable = tableBytes;
    if (tableBytes < Math.min(this.#table.max, this.shrinkTo ?? this.#table.max)) this.shrinkTo = tableBytes;
  }

  /** Undefined when it cannot be read: nothing that follows can, then. */
  decode(block: Buffer, start: number, end: number): T | undefined {
    const isShort = end - start <= MAX_KNOWN_BYTES && this.shrinkTo === undefined;
    const text = isShort ? block.toString("latin1", start, end) : "";
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const { changes } = this.#table;
    const list = this.#read(new Cursor(block, start, end));
    if (list === undefined) return undefined;
    const made = this.#make(list);
    if (this.#table.changes !== changes) this.#known.clear();
    else if (text !== "") {
      if (this.#known.size === MAX_KNOWN) this.#known.clear();
      this.#known.set(text, made);
    }
    return made;
  }

  #read(cursor: Cursor): FieldList | undefined {
    if (!this.#readSizes(cursor)) return undefined;
    const fields: HpackField[] = [];
    let [bytes, tooLong] = [0, false];
    while (cursor.left) {
      const field = this.#readField(cursor);
      if (field === undefined) return undefined;
      bytes += sizeOf(field);
      if (bytes > MAX_LIST) return undefined;
      tooLong ||= bytes > this.#limits.bytes || fields.length === this.#limits.count;
      if (!tooLong) fields.push(field);
    }
    return { fields, tooLong };
  }

  /** Sizes of the table are told at the start of a block alone. */
  #readSizes(cursor: Cursor): boolean {
    while (cursor.left && (cursor.peek & 0xe0) === 0x20) {
      const max = cursor.number(5);
      if (max === undefined || max > this.#maxTable) return false;
      this.#table.resize(max);
      this.shrinkTo = undefined;
    }
    return this.shrinkTo === undefined;
  }

  /** RFC 7541 §6. */
  #readField(cursor: Cursor): HpackField | undefined {
    const first = cursor.peek;
    if (first >= 0x80) return this.#table.get(cursor.number(7) ?? 0);
    if (first >= 0x40) {
      const field = this.#readLiteral(cursor, 6, false);
      if (field !== undefined) this.#table.learn(field);
      return field;
    }
    return first >= 0x20 ? undefined : this.#readLiteral(cursor, 4, first >= 0x10);
  }

  #readLiteral(cursor: Cursor, prefix: number, neverIndexed: boolean): HpackField | undefined {
    const index = cursor.number(prefix);
    if (index === undefined) return undefined;
    const name = index === 0 ? cursor.text() : this.#table.get(index)?.name;
    const value = name === undefined ? undefined : cursor.text();
    return name === undefined || value === undefined ? undefined : hpackField(name, value, neverIndexed);
  }
}

/** The primitives of a block (RFC 7541 §5). */
class Cursor {
  readonly #input: Buffer;
  readonly #end: number;
  #at: number;

  constructor(input: Buffer, start: number, end: number) {
    this.#input = input;
    this.#at = start;
    this.#end = end;
  }

  get left(): boolean {
    return this.#at < this.#end;
  }

  get peek(): number {
    return this.#input[this.#at] ?? 0;
  }

  /** With a prefix of so many bits; undefined when it is cut off or too big. */
  number(prefix: number): number | undefined {
    if (!this.left) return undefined;
    const mask = (1 << prefix) - 1;
    let value = this.peek & mask;
    this.#at++;
    if (value < mask) return value;
    for (let shift = 0; shift < MAX_NUMBER_BITS && this.left; shift += 7) {
      const byte = this.peek;
      this.#at++;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  text(): string | undefined {
    const isCoded = this.peek >= 0x80;
    const length = this.number(7);
    if (length === undefined || length > this.#end - this.#at) return undefined;
    const start = this.#at;
    this.#at += length;
    return isCoded ? decodeHuffman(this.#input, start, this.#at) : this.#input.toString("latin1", start, this.#at);
  }
}
