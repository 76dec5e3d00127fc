const HEADER = 8;
const DISCARDED = 0x40000000;
const LENGTH = 0x3fffffff;

/** The records of a run of ring-buffer memory (linux/bpf.h, BPF_RINGBUF_*_BIT), without copying: each is a view of `batch`. */
export function* recordsOf(batch: Buffer): Generator<Buffer> {
  for (let at = 0; at + HEADER <= batch.length; ) {
    const header = batch.readUInt32LE(at);
    const length = header & LENGTH;
    if ((header & DISCARDED) === 0) yield batch.subarray(at + HEADER, at + HEADER + length);
    at += HEADER + ((length + 7) & ~7);
  }
}
