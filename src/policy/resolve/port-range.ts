/** A block of ports with common leading bits: `bits` of `port` count; 0 bits is every port. */
export type PortPrefix = { readonly port: number; readonly bits: number };

/** The blocks that together cover exactly the ports from `start` to `end`, in order. An end at or below the start means the one port. */
export function portPrefixes(start: number, end: number): PortPrefix[] {
  if (start === 0 && (end <= 0 || end >= 0xffff)) return [{ port: 0, bits: 0 }];
  if (end <= start) return [{ port: start, bits: 16 }];
  const blocks: PortPrefix[] = [];
  for (let port = start; port <= end; ) {
    // The largest power of two that the start is aligned to and that fits.
    let size = port === 0 ? 0x10000 : port & -port;
    while (port + size - 1 > end) size >>= 1;
    blocks.push({ port, bits: 16 - Math.log2(size) });
    port += size;
  }
  return blocks;
}

/** Whether the port is in the block. */
export function inPortPrefix(block: PortPrefix, port: number): boolean {
  return port >> (16 - block.bits) === block.port >> (16 - block.bits);
}
