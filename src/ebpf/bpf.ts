import type { MapOfMapsSpec, MapSpec } from "./spec.ts";

export type { MapOfMapsSpec, MapSpec } from "./spec.ts";

/** eBPF of one kernel, or of memory in tests. Everything throws `KernelError` unless it says otherwise. */
export interface Bpf {
  /** A new map, known to nobody else until it is pinned. */
  createMap<K, V>(spec: MapSpec<K, V>): BpfMap<K, V>;
  /** The map pinned at `path`. Throws ENOENT when there is none, `ShapeError` when it is not what `spec` says. */
  openMap<K, V>(spec: MapSpec<K, V>, path: string): BpfMap<K, V>;
  /** Opens the pinned map, or creates and pins it. A pinned map of another shape is replaced: its content is lost, programs that use it keep the old one. */
  ensureMap<K, V>(spec: MapSpec<K, V>, path: string): { readonly map: BpfMap<K, V>; readonly outcome: "opened" | "created" | "replaced" };
  openPerCpuMap<K, V>(spec: MapSpec<K, V>, path: string): PerCpuMap<K, V>;
  openMapOfMaps<K, IK, IV>(spec: MapOfMapsSpec<K, IK, IV>, path: string): MapOfMaps<K, IK, IV>;
  createMapOfMaps<K, IK, IV>(spec: MapOfMapsSpec<K, IK, IV>): MapOfMaps<K, IK, IV>;

  /** Loads an object file's programs and maps. Throws `LoadError`, or `VerifierError` when the verifier refuses a program. */
  load(objectPath: string, options?: LoadRequest): LoadedObject;
  openProgram(path: string): Program;

  /** Runs `program` on a network device by TCX, after the programs already there. */
  attachTcx(program: Program, ifindex: number, direction: "ingress" | "egress"): Link;
  /** Runs `program` on what a device receives: in its driver ("native", which the driver must support), or after it ("generic"). */
  attachXdp(program: Program, ifindex: number, mode: XdpMode): Link;
  /** Runs `program` for sockets of the cgroup v2 directory and those below, after programs already there. */
  attachCgroup(program: Program, directory: string, hook: CgroupHook): Link;
  /** Runs `program` on what the sockets in a map of sockets (its descriptor) receive, before their owners read it. */
  attachSockets(program: Program, map: { readonly fd: number }): Link;
  openLink(path: string): Link;

  /** Runs the program on a packet (BPF_PROG_TEST_RUN). Redirects are answered, not done. */
  testRun(program: Program, input: TestInput): TestOutput;
  /** Calls `onBatch` for what programs write into the ring buffer pinned or loaded as `map`, until closed. Keeps the process alive. */
  openRing(map: RingMap, onBatch: (batch: Iterable<Buffer>) => void): Ring;
  /** Opens the ring buffer pinned at `path`. */
  openRingMap(path: string): RingMap;
}

interface Handle extends Disposable {
  /** Closes the handle. What is pinned, attached or used by a program stays. */
  close(): void;
}

interface Pinnable extends Handle {
  /** The file descriptor, for the few calls this interface does not have. */
  readonly fd: number;
  /** Makes it findable at `path` in a bpf file system and keeps it there after this process. EEXIST when taken. */
  pin(path: string): void;
}

export interface BpfMap<K, V> extends Pinnable {
  readonly name: string;
  readonly maxEntries: number;
  get(key: K): V | undefined;
  has(key: K): boolean;
  /** `mode` "new": EEXIST when there is an entry; "existing": ENOENT when there is none. E2BIG or ENOSPC when the map is full. */
  set(key: K, value: V, mode?: "new" | "existing"): void;
  /** False when there was none. */
  delete(key: K): boolean;
  /** A map that changes meanwhile may show a key twice or not at all. Deleting the key just given is safe. */
  keys(): IterableIterator<K>;
  entries(): IterableIterator<[K, V]>;
  setMany(entries: Iterable<readonly [K, V]>): void;
  deleteMany(keys: Iterable<K>): number;
}

/** A value for each possible CPU; programs write their own CPU's. */
export interface PerCpuMap<K, V> extends Pinnable {
  readonly name: string;
  get(key: K): V[] | undefined;
  /** Gives every CPU the same value. */
  set(key: K, value: V): void;
  delete(key: K): boolean;
  entries(): IterableIterator<[K, V[]]>;
}

export interface MapOfMaps<K, IK, IV> extends Pinnable {
  readonly name: string;
  /**
   * An inner map of the right shape; it lives as long as it is open here or has an entry. `maxEntries` other than the
   * spec's only for inner hashes, and for inner arrays with BPF_F_INNER_MAP.
   */
  createInner(maxEntries?: number): BpfMap<IK, IV>;
  set(key: K, inner: BpfMap<IK, IV>): void;
  /** The caller closes it. */
  get(key: K): BpfMap<IK, IV> | undefined;
  /** Kernel-wide number of the inner map: the same number is the same map. */
  innerId(key: K): number | undefined;
  delete(key: K): boolean;
  keys(): IterableIterator<K>;
}

/** A ring buffer's map. */
export interface RingMap extends Pinnable {
  /** Bytes of data it holds. */
  readonly size: number;
}

export interface Ring extends Handle {}

export interface Program extends Pinnable {
  readonly name: string;
}

export interface Link extends Pinnable {
  /** Replaces the program atomically: each packet sees the old or the new one. */
  update(program: Program): void;
  /** Ends the attachment, whether pinned or not; the pin stays as a dead file. */
  detach(): void;
}

export interface LoadRequest {
  /** Data section (`.rodata.config`) → its whole initial content. */
  readonly config?: Readonly<Record<string, Uint8Array>>;
  /** Maps to use in place of the object's own. */
  readonly reuse?: Readonly<Record<string, Pinnable>>;
  /** Directory in a bpf file system: maps that ask for pinning are found or pinned there by their names. Absent: no map is pinned. */
  readonly pinRoot?: string;
  /** Load these programs only. */
  readonly only?: readonly string[];
  readonly maxEntries?: Readonly<Record<string, number>>;
}

export interface LoadedObject extends Handle {
  /** Throws `LoadError` naming what the object has when there is no such program. */
  program(name: string): Program;
  readonly programs: ReadonlyMap<string, Program>;
  /** A map of the object; closing it closes this handle only. Throws `ShapeError` when it is not what `spec` says. */
  map<K, V>(spec: MapSpec<K, V>): BpfMap<K, V>;
  perCpuMap<K, V>(spec: MapSpec<K, V>): PerCpuMap<K, V>;
  mapOfMaps<K, IK, IV>(spec: MapOfMapsSpec<K, IK, IV>): MapOfMaps<K, IK, IV>;
  ringMap(name: string): RingMap;
  readonly mapNames: readonly string[];
}

export type XdpMode = "native" | "generic";

export type CgroupHook =
  | "connect4"
  | "connect6"
  | "sendmsg4"
  | "sendmsg6"
  | "recvmsg4"
  | "recvmsg6"
  | "getpeername4"
  | "getpeername6"
  | "bind4"
  | "bind6"
  | "post_bind4"
  | "post_bind6"
  | "sock_create"
  | "sock_release"
  | "sock_ops"
  | "ingress"
  | "egress";

export interface TestInput {
  readonly packet: Uint8Array;
  /** `struct __sk_buff` (or another context) before the run. */
  readonly context?: Uint8Array;
  /** Default 1. */
  readonly repeat?: number;
}

export interface TestOutput {
  /** What the program returned, as a signed number. */
  readonly returnValue: number;
  readonly packet: Buffer;
  readonly context: Buffer;
  /** Mean of the repeats. */
  readonly durationNs: number;
}
