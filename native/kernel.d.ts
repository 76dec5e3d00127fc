/**
 * The typed surface of build/kernel.node. Numbers are results of system calls: negative is -errno, nothing throws but wrong argument types.
 * Only src/sys imports this; every buffer must stay referenced during the call, which calling with it ensures.
 */

/** A place in a block and the buffer whose address goes there; `null` writes a null pointer. */
export type PointerArguments = (number | Uint8Array | null)[];

/** What libbpf or the verifier objected to: `message` libbpf's warnings, `log` the end of the verifier's log. */
export interface ObjectFailure {
  errno: number;
  message: string;
  log: string;
  programs?: undefined;
  maps?: undefined;
}

export interface LoadedFds {
  errno: 0;
  /** The caller's own file descriptors (close-on-exec), by name. */
  programs: Record<string, number>;
  maps: Record<string, number>;
}

export interface LoadOptions {
  /** Data section → its whole initial content, of exactly the section's size. */
  config?: Record<string, Uint8Array>;
  /** Map → descriptor of an existing map to use in its place. */
  reuse?: Record<string, number>;
  maxEntries?: Record<string, number>;
  /** Programs to load; absent means all. */
  only?: Record<string, true>;
}

/** An open ring reader; keeps the event loop alive until `ringClose`. */
export type RingHandle = { readonly __ring: unique symbol };

/** A set of sockets that is read; keeps the event loop alive until `socketSetClose`. */
export type SocketSetHandle = { readonly __socketSet: unique symbol };

export interface Kernel {
  /** bpf(2). Pairs (offset, buffer) are written into `attr` as 64-bit addresses before the call. */
  bpf(command: number, attr: Uint8Array, ...pointers: PointerArguments): number;

  /** With `pinRoot` maps that ask for it are pinned and reused there by name; without, no map is pinned. */
  objectLoad(path: string, options: LoadOptions, pinRoot?: string): LoadedFds | ObjectFailure;

  /**
   * Reads the ring buffer map `fd` of `size` data bytes. `onBatch` gets runs of finished records as they lie in the ring: u32 length with bit 30 set for
   * a discarded record, u32 of no meaning, data, padding to 8 bytes; at most about 256 KiB a call.
   */
  ringOpen(fd: number, size: number, onBatch: (batch: Buffer) => void): RingHandle | number;
  ringClose(ring: RingHandle): void;

  /**
   * Reads UDP sockets: what is ready at one wake-up is put into the slots (`slotSize` bytes each, layout in src/sys/datagrams.ts), then `onBatch` is told
   * how many. The buffer stays referenced until `socketSetClose`.
   */
  datagramsOpen(slots: Uint8Array, slotSize: number, onBatch: (count: number) => void): SocketSetHandle | number;
  /** Reads connected TCP sockets: the bytes of one wake-up lie side by side in `bytes`, `arrivals` says whose they are (layout in src/sys/streams.ts). */
  streamsOpen(bytes: Uint8Array, arrivals: Uint8Array, onBatch: (count: number) => void): SocketSetHandle | number;
  /** Returns how many of the bytes from `start` to `end` the socket took; it does not wait. */
  streamsSend(fd: number, bytes: Uint8Array, start: number, end: number): number;

  /** Closing the descriptor takes the socket out again. */
  socketSetAdd(set: SocketSetHandle, fd: number, tag: number): number;
  socketSetRemove(set: SocketSetHandle, fd: number): number;
  /** Whether it keeps the event loop alive. */
  socketSetHold(set: SocketSetHandle, hold: 0 | 1): void;
  socketSetClose(set: SocketSetHandle): void;
  /** A UDP datagram from one end (16 bytes of address, port in network order) to another through a raw socket. */
  udpSendAs(fd: number, data: Uint8Array, source: Uint8Array, destination: Uint8Array): number;

  /**
   * Of `sockets` UDP sockets that share the address and port of this one, a datagram goes to the one of its source: those of one source stay together. `offset`: of the last
   * word of the source in the network header.
   */
  shareBySource(fd: number, offset: number, sockets: number): number;

  /** Moves the calling thread; sockets and children made afterwards are there. */
  setns(fd: number, type: number): number;
  unshare(flags: number): number;
  mount(source: string, target: string, type: string, flags: number, data: string): number;
  umount(target: string, flags: number): number;

  /** Close-on-exec always. With `netns` the socket lives there and the thread stays where it was. */
  socket(domain: number, type: number, protocol: number, netns?: number): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array): number;
  /** Returns the bytes written. */
  getsockopt(fd: number, level: number, option: number, into: Uint8Array): number;
  send(fd: number, data: Uint8Array, flags: number): number;
  /** `send` on the thread pool, of a copy of `data`. */
  sendLater(fd: number, data: Uint8Array, flags: number): Promise<number>;
  recv(fd: number, into: Uint8Array, flags: number): number;
  /** One message with 1 to 192 descriptors, of 4 bytes each, over a Unix socket; never waits. */
  sendDescriptors(fd: number, data: Uint8Array, descriptors: Uint8Array): number;
  /** Bytes of data, 0 at the end of the connection. Of 192 places for descriptors those that are not used are -1; the others are close-on-exec. */
  receiveDescriptors(fd: number, data: Uint8Array, descriptors: Uint8Array): number;
  close(fd: number): number;

  /** Writes two descriptors of 4 bytes each, close-on-exec: the end to read from and the end to write to. */
  pipe(into: Uint8Array): number;
  flock(fd: number, operation: number): number;
  /** Nanoseconds, or a negative number (-errno). */
  clockGettime(clock: number): bigint | number;
}
