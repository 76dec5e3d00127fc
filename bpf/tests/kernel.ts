import type { Codec } from "#ebpf/codec.ts";
import { bpf, closeBpf, loadObjectFile } from "#sys/bpf.ts";
import { check } from "#sys/kernel-error.ts";

/**
 * The few bpf(2) commands these tests need, at the lowest seam: the datapath is tested with as little of our own code as possible
 * between the test and the kernel.
 */
const COMMAND = { mapCreate: 0, lookup: 1, update: 2, delete: 3, nextKey: 4, testRun: 10, progLoad: 5, info: 15 } as const;
const SKB_CONTEXT_SIZE = 192;
const RUN_BYTES_MAX = 70_000;

function attributes(size: number, ...words: readonly (readonly [offset: number, value: number])[]): Buffer {
  const attr = Buffer.alloc(size);
  for (const [offset, value] of words) attr.writeUInt32LE(value, offset);
  return attr;
}

/** A map by its descriptor, typed by its codecs. */
export class TestMap<K, V> {
  readonly fd: number;
  readonly #key: Codec<K>;
  readonly #value: Codec<V>;

  constructor(fd: number, key: Codec<K>, value: Codec<V>) {
    this.fd = fd;
    this.#key = key;
    this.#value = value;
  }

  #encode<T>(codec: Codec<T>, value: T): Buffer {
    const buffer = Buffer.alloc(codec.size);
    codec.encode(value, buffer, 0);
    return buffer;
  }

  set(key: K, value: V): void {
    const attr = attributes(32, [0, this.fd]);
    check("map update", bpf(COMMAND.update, attr, 8, this.#encode(this.#key, key), 16, this.#encode(this.#value, value)));
  }

  get(key: K): V | undefined {
    const into = Buffer.alloc(this.#value.size);
    if (bpf(COMMAND.lookup, attributes(32, [0, this.fd]), 8, this.#encode(this.#key, key), 16, into) < 0) return undefined;
    return this.#value.decode(into, 0);
  }

  delete(key: K): void {
    bpf(COMMAND.delete, attributes(32, [0, this.fd]), 8, this.#encode(this.#key, key));
  }

  keys(): K[] {
    const keys: K[] = [];
    let previous: Buffer | null = null;
    for (;;) {
      const next = Buffer.alloc(this.#key.size);
      if (bpf(COMMAND.nextKey, attributes(32, [0, this.fd]), 8, previous, 16, next) < 0) return keys;
      keys.push(this.#key.decode(next, 0));
      previous = next;
    }
  }

  clear(): void {
    for (const key of this.keys()) this.delete(key);
  }
}

/** Makes a map that belongs to the caller. Throws `KernelError`. */
export function createMap(type: number, keySize: number, valueSize: number, maxEntries: number, flags = 0): number {
  const attr = attributes(72, [0, type], [4, keySize], [8, valueSize], [12, maxEntries], [16, flags]);
  return check("map create", bpf(COMMAND.mapCreate, attr));
}

/** A program that does nothing, to measure what a run costs before the program begins. */
export function loadEmptyProgram(): number {
  const SCHED_CLS = 3;
  const instructions = Buffer.from([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
  const license = Buffer.from("GPL\0");
  return check("prog load", bpf(COMMAND.progLoad, attributes(72, [0, SCHED_CLS], [4, 2]), 8, instructions, 16, license));
}

export interface Loaded {
  readonly programs: Readonly<Record<string, number>>;
  readonly maps: Readonly<Record<string, number>>;
  close(): void;
}

/** Loads an object of this folder's parent without pinning anything. Throws with the end of the verifier's log. */
export function loadObject(name: string, config?: Uint8Array, reuse: Readonly<Record<string, number>> = {}): Loaded {
  const path = new URL(`../${name}.o`, import.meta.url).pathname;
  const loaded = loadObjectFile(path, { ...(config ? { config: { ".rodata.config": config } } : {}), reuse: { ...reuse } });
  if (!loaded.programs) throw new Error(`${name}: errno ${loaded.errno}\n${loaded.message}\n${loaded.log.slice(-1500)}`);
  return {
    programs: loaded.programs,
    maps: loaded.maps,
    close: () => {
      for (const fd of [...Object.values(loaded.programs), ...Object.values(loaded.maps)]) closeBpf(fd);
    },
  };
}

/** How many instructions the verifier looked at until it was content. */
export function verifiedInstructions(program: number): number {
  const VERIFIED_INSNS = 216;
  const info = Buffer.alloc(256);
  check("prog info", bpf(COMMAND.info, attributes(16, [0, program], [4, info.length]), 8, info));
  return info.readUInt32LE(VERIFIED_INSNS);
}

export interface RunInput {
  readonly ifindex: number;
  /** Device the packet came in by; 0: made on this node. */
  readonly ingressIfindex?: number;
  readonly mark?: number;
  readonly repeat?: number;
}

export interface RunOutput {
  readonly code: number;
  readonly bytes: Uint8Array;
  readonly mark: number;
  /** Nanoseconds a run took, the mean of all. */
  readonly durationNs: number;
}

/** Runs an XDP program on a frame that came in by `ifindex`, as often as asked. `code`: 1 drop, 2 pass, 3 back out of the device. */
export function testRunXdp(program: number, frame: Uint8Array, { ifindex, repeat = 1 }: RunInput): Omit<RunOutput, "mark"> {
  const context = Buffer.alloc(24);
  context.writeUInt32LE(frame.length, 4);
  context.writeUInt32LE(ifindex, 12);
  const out = Buffer.alloc(RUN_BYTES_MAX);
  const attr = attributes(80, [0, program], [8, frame.length], [12, out.length], [32, repeat], [40, context.length]);
  check("test run", bpf(COMMAND.testRun, attr, 16, frame, 24, out, 48, context));
  const bytes = out.subarray(0, attr.readUInt32LE(12));
  return { code: attr.readUInt32LE(4), bytes, durationNs: attr.readUInt32LE(36) };
}

/** Runs a program on a packet in the calling thread's network namespace (BPF_PROG_TEST_RUN). Redirects are not carried out. */
export function testRun(program: number, packet: Uint8Array, input: RunInput): RunOutput {
  const context = Buffer.alloc(SKB_CONTEXT_SIZE);
  context.writeUInt32LE(input.mark ?? 0, 8);
  context.writeUInt32LE(input.ingressIfindex ?? 0, 36);
  context.writeUInt32LE(input.ifindex, 40);
  const out = Buffer.alloc(RUN_BYTES_MAX);
  const contextOut = Buffer.alloc(SKB_CONTEXT_SIZE);
  const attr = attributes(
    80,
    [0, program],
    [8, packet.length],
    [12, out.length],
    [32, input.repeat ?? 1],
    [40, context.length],
    [44, contextOut.length],
  );
  check("test run", bpf(COMMAND.testRun, attr, 16, packet, 24, out, 48, context, 56, contextOut));
  return {
    code: attr.readUInt32LE(4),
    bytes: out.subarray(0, attr.readUInt32LE(12)),
    mark: contextOut.readUInt32LE(8),
    durationNs: attr.readUInt32LE(36),
  };
}
