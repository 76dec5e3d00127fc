import type { SocketSetHandle } from "../../native/kernel.d.ts";
import { check, KernelError } from "./kernel-error.ts";
import { kernel } from "./native.ts";

/** An end of a datagram: 16 bytes of address, IPv4 as ::ffff:a.b.c.d, then the port in network order. */
export const END_BYTES = 18;

/** `struct slot` of native/datagrams.c. */
const SLOT = { tag: 0, length: 4, source: 8, destination: 8 + END_BYTES, data: 64 } as const;
const MAX_DATAGRAM = 65_536;
const SLOT_BYTES = SLOT.data + MAX_DATAGRAM;
/** Datagrams taken at one wake-up; memory is touched as far as datagrams reach. */
const SLOTS = 32;

/** One received datagram. Everything in it is overwritten after the callback. */
export interface Received {
  /** What its socket was added with. */
  readonly tag: number;
  /** 0, or the errno that the socket has instead of data: ECONNREFUSED of a connected socket, EMSGSIZE of more than 64 KiB. */
  readonly errno: number;
  readonly data: Buffer;
  readonly source: Buffer;
  /** Where it was meant to go; only `redirectedDatagram` sockets tell, zero otherwise. */
  readonly destination: Buffer;
}

/** UDP sockets that are read together, with the least work for each datagram. */
export interface DatagramSet extends Disposable {
  /** Throws `KernelError`. Closing the descriptor takes the socket out again. */
  add(fd: number, tag: number): void;
  /** Reads it no more; what has arrived stays in the socket for the next reader. */
  remove(fd: number): void;
}

/** Opens an empty set; `onDatagram` must not throw. Keeps the event loop alive until it is disposed. */
export function openDatagramSet(onDatagram: (received: Received) => void): DatagramSet {
  const slots = Buffer.allocUnsafeSlow(SLOTS * SLOT_BYTES);
  const onBatch = (count: number) => {
    for (let i = 0; i < count; i++) onDatagram(readSlot(slots, i * SLOT_BYTES));
  };
  const handle = kernel().datagramsOpen(slots, SLOT_BYTES, onBatch);
  if (typeof handle === "number") throw new KernelError("datagramsOpen", -handle, "");
  return datagramSet(handle);
}

function datagramSet(handle: SocketSetHandle): DatagramSet {
  return {
    add: (fd, tag) => void check("epoll_ctl", kernel().socketSetAdd(handle, fd, tag)),
    remove: (fd) => void check("epoll_ctl", kernel().socketSetRemove(handle, fd)),
    [Symbol.dispose]: () => kernel().socketSetClose(handle),
  };
}

function readSlot(slots: Buffer, at: number): Received {
  const length = slots.readInt32LE(at + SLOT.length);
  const data = at + SLOT.data;
  return {
    tag: slots.readUInt32LE(at + SLOT.tag),
    errno: length < 0 ? -length : 0,
    data: slots.subarray(data, data + Math.max(0, length)),
    source: slots.subarray(at + SLOT.source, at + SLOT.source + END_BYTES),
    destination: slots.subarray(at + SLOT.destination, at + SLOT.destination + END_BYTES),
  };
}

/** Sends a datagram from any end through a `rawUdp` socket of its family. Returns 0 or the errno: a datagram may always be lost. */
export function sendAs(fd: number, data: Uint8Array, source: Uint8Array, destination: Uint8Array): number {
  const result = kernel().udpSendAs(fd, data, source, destination);
  return result < 0 ? -result : 0;
}

/** Sends on a connected socket. Returns 0 or the errno. */
export function sendDatagram(fd: number, data: Uint8Array): number {
  const result = kernel().send(fd, data, 0);
  return result < 0 ? -result : 0;
}
