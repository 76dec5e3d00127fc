import { type HpackField, STATIC_TABLE } from "./hpack-table.ts";

/**
 * Header blocks of our own: fields of the static table by number, all others as they are. They teach the other side's table nothing, so a block is good
 * anywhere, any number of times, and two that speak in turn to one side cannot confuse it.
 */
export function encodeFields(fields: readonly HpackField[]): Buffer {
  const pieces: Buffer[] = [];
  for (const field of fields) pieces.push(encodeField(field));
  return Buffer.concat(pieces);
}

/** At the start of a block: the table of whoever says this is so big from now on (RFC 7541 §6.3). */
export function encodeTableSize(bytes: number): Buffer {
  return encodeNumber(0x20, 5, bytes);
}

const names = new Map<string, number>();
const whole = new Map<string, number>();
for (const [at, { name, value }] of STATIC_TABLE.entries()) {
  if (!names.has(name)) names.set(name, at + 1);
  whole.set(`${name}\n${value}`, at + 1);
}

function encodeField({ name, value, neverIndexed }: HpackField): Buffer {
  const index = neverIndexed ? undefined : whole.get(`${name}\n${value}`);
  if (index !== undefined) return encodeNumber(0x80, 7, index);
  const known = names.get(name) ?? 0;
  const head = encodeNumber(neverIndexed ? 0x10 : 0, 4, known);
  return Buffer.concat(known === 0 ? [head, encodeText(name), encodeText(value)] : [head, encodeText(value)]);
}

/** Without Huffman's code: that would save bytes and cost time. */
function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([encodeNumber(0, 7, bytes.length), bytes]);
}

/** RFC 7541 §5.1. */
function encodeNumber(first: number, prefix: number, value: number): Buffer {
  const mask = (1 << prefix) - 1;
  if (value < mask) return Buffer.from([first | value]);
  const bytes = [first | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push(0x80 | (rest & 0x7f));
  return Buffer.from([...bytes, rest]);
}
