/** The Huffman code of HPACK: RFC 7541 §5.2 and Appendix B. */

/** Bits of the code of each byte and, last, of the end of a text. Codes are canonical: they go up by length, then by byte. */
const LENGTHS = [
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  ...[13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  ...[20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  ...[26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  ...[20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  30,
];
const END_OF_TEXT = 256;
/** The shortest code: no text is longer than its bits allow. */
const MIN_BITS = 5;
/** Of an entry of the table: a byte is told, the text cannot go on like this. */
const [TOLD, BAD] = [0x100, 0x200];

interface Machine {
  /** By node × 16 and the next four bits: the node they lead to, and what they tell on the way (`TOLD` | byte, `BAD`, or 0). */
  readonly next: Uint8Array;
  readonly told: Uint16Array;
  /** A text may end here: what is left are at most seven bits of the end's code. */
  readonly canEnd: Uint8Array;
}

let machine: Machine | undefined;

/** The text that is coded in the bytes from `start` to `end`, as latin1; undefined when they are no code. */
export function decodeHuffman(input: Buffer, start: number, end: number): string | undefined {
  machine ??= makeMachine(makeTree());
  const { next, told, canEnd } = machine;
  const text = Buffer.allocUnsafe(Math.ceil(((end - start) * 8) / MIN_BITS));
  let [node, length] = [0, 0];
  for (let at = start; at < end; at++) {
    const byte = input[at] ?? 0;
    for (const bits of [byte >> 4, byte & 15]) {
      const entry = (node << 4) | bits;
      const what = told[entry] ?? BAD;
      if (what >= BAD) return undefined;
      if (what >= TOLD) text[length++] = what & 0xff;
      node = next[entry] ?? 0;
    }
  }
  return canEnd[node] === 1 ? text.toString("latin1", 0, length) : undefined;
}

/** Nodes as pairs of what follows a 0 and a 1: another node, or a byte as its complement. */
type Tree = readonly (readonly [number, number])[];

function makeTree(): Tree {
  const tree: [number, number][] = [[0, 0]];
  const order = LENGTHS.map((_, symbol) => symbol).sort((a, b) => (LENGTHS[a] ?? 0) - (LENGTHS[b] ?? 0) || a - b);
  let [code, bits] = [0, 0];
  for (const symbol of order) {
    const length = LENGTHS[symbol] ?? 0;
    code = bits === 0 ? 0 : (code + 1) * 2 ** (length - bits);
    bits = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const branches = tree[node] as [number, number];
      const side = Math.floor(code / 2 ** bit) & 1;
      if (branches[side] === 0) branches[side] = tree.push([0, 0]) - 1;
      node = branches[side] ?? 0;
    }
    (tree[node] as [number, number])[code & 1] = ~symbol;
  }
  return tree;
}

function makeMachine(tree: Tree): Machine {
  const made = { next: new Uint8Array(tree.length * 16), told: new Uint16Array(tree.length * 16), canEnd: new Uint8Array(tree.length) };
  for (let entry = 0; entry < tree.length * 16; entry++) {
    let node = entry >> 4;
    for (const bit of [3, 2, 1, 0]) {
      const branch = tree[node]?.[(entry >> bit) & 1] ?? 0;
      node = Math.max(0, branch);
      if (branch < 0) made.told[entry] = ~branch === END_OF_TEXT ? BAD : TOLD | ~branch;
    }
    made.next[entry] = node;
  }
  for (let [node, depth] = [0, 0]; depth < 8; depth++) {
    made.canEnd[node] = 1;
    node = tree[node]?.[1] ?? 0;
  }
  return made;
}
