import { check, KernelError } from "./kernel-error.ts";
import { kernel } from "./native.ts";

/** `struct arrival` of native/streams.c, as indexes of 32-bit words. */
const ARRIVAL = { tag: 0, length: 1, start: 2, words: 3 } as const;
/** Sockets read at one wake-up. */
const ARRIVALS = 256;
/** Bytes read at one wake-up; at least the 64 KiB that one socket may give. */
const BYTES = 1 << 20;

/** What one socket had to say: `bytes`, which are overwritten after the callback; none and no errno when the other side has ended. */
export type OnArrival = (tag: number, bytes: Buffer, errno: number) => void;

/** Connected TCP sockets that are read together, with the least work for each chunk. */
export interface StreamSet extends Disposable {
  /** Throws `KernelError`. `tag` is a whole number from 1 to 2^32 - 1. Closing the descriptor takes the socket out again. */
  add(fd: number, tag: number): void;
  /**
   * Reads it no more; what has arrived stays in the socket for the next reader, but for bytes that were read with others' at this wake-up: they are still
   * told. Needed after an end or an error, which else are told again.
   */
  remove(fd: number): void;
  /** Whether it keeps the event loop alive; it does at first. */
  hold(isHeld: boolean): void;
}

/** Opens an empty set; `onArrival` must not throw. */
export function openStreamSet(onArrival: OnArrival): StreamSet {
  const bytes = Buffer.allocUnsafeSlow(BYTES);
  const arrivals = new Uint32Array(ARRIVALS * ARRIVAL.words);
  const onBatch = (count: number) => {
    for (let at = 0; at < count * ARRIVAL.words; at += ARRIVAL.words) {
      const length = (arrivals[at + ARRIVAL.length] ?? 0) | 0;
      const start = arrivals[at + ARRIVAL.start] ?? 0;
      onArrival(arrivals[at + ARRIVAL.tag] ?? 0, bytes.subarray(start, start + Math.max(0, length)), Math.max(0, -length));
    }
  };
  const set = kernel().streamsOpen(bytes, new Uint8Array(arrivals.buffer), onBatch);
  if (typeof set === "number") throw new KernelError("streamsOpen", -set, "");
  return {
    add: (fd, tag) => void check("epoll_ctl", kernel().socketSetAdd(set, fd, tag)),
    remove: (fd) => void check("epoll_ctl", kernel().socketSetRemove(set, fd)),
    hold: (isHeld) => kernel().socketSetHold(set, isHeld ? 1 : 0),
    [Symbol.dispose]: () => kernel().socketSetClose(set),
  };
}

/** Sends what the socket takes at once of the bytes from `start` on. Returns how many, or `-errno`. */
export function sendNow(fd: number, bytes: Uint8Array, start: number, end: number): number {
  return kernel().streamsSend(fd, bytes, start, end);
}
