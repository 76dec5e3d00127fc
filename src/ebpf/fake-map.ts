import { ERRNO } from "#sys/errno.ts";
import { KernelError } from "#sys/kernel-error.ts";
import type { BpfMap, MapOfMaps, PerCpuMap } from "./bpf.ts";
import { type Codec, toBuffer, u32 } from "./codec.ts";
import { MAP_TYPE, type MapOfMapsSpec, type MapShape, type MapSpec } from "./spec.ts";

/** A map's content, shared by all handles on it. Keys are hex, so that maps compare by bytes. */
export interface MapStore {
  readonly id: number;
  readonly shape: MapShape;
  readonly entries: Map<string, StoredEntry>;
}

export interface StoredEntry {
  readonly key: Buffer;
  readonly value: Buffer;
  /** In a map of maps. */
  readonly inner?: MapStore;
}

export interface FakeContext {
  readonly fail: (operation: string, about: string) => void;
  readonly cpus: number;
  readonly fd: number;
  pin(path: string): void;
}

let nextId = 1;
/** Stores by the descriptor of a handle, for maps that are values. */
const storesByFd = new Map<number, WeakRef<MapStore>>();

export function newStore(shape: MapShape): MapStore {
  return { id: nextId++, shape, entries: new Map() };
}

class FakeHandle {
  readonly fd: number;
  readonly store: MapStore;
  readonly context: FakeContext;
  #open = true;

  constructor(store: MapStore, context: FakeContext) {
    this.fd = context.fd;
    this.store = store;
    this.context = context;
    storesByFd.set(this.fd, new WeakRef(store));
  }

  pin(path: string): void {
    this.context.pin(path);
  }

  close(): void {
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  begin(operation: string, name: string): void {
    if (!this.#open) throw new TypeError("used after close");
    this.context.fail(operation, name);
  }
}

/** What all fake maps do with keys. */
class FakeTable<K> extends FakeHandle {
  readonly name: string;
  readonly #key: Codec<K>;

  constructor(spec: MapSpec<K, unknown>, store: MapStore, context: FakeContext) {
    super(store, context);
    this.name = spec.name;
    this.#key = spec.key;
  }

  find(operation: string, key: K): StoredEntry | undefined {
    this.begin(operation, this.name);
    return this.#match(toBuffer(this.#key, key));
  }

  put(key: K, value: Buffer, mode: "any" | "new" | "existing", inner?: MapStore): void {
    this.begin("set", this.name);
    const bytes = toBuffer(this.#key, key);
    const at = bytes.toString("hex");
    const { entries, shape } = this.store;
    const refuse = (code: "EEXIST" | "ENOENT" | "E2BIG" | "ENOSPC") => {
      throw new KernelError("bpf MAP_UPDATE_ELEM", ERRNO[code], this.name);
    };
    if (mode === "new" && entries.has(at)) refuse("EEXIST");
    if (mode === "existing" && !entries.has(at)) refuse("ENOENT");
    if (!entries.has(at) && entries.size >= shape.maxEntries) refuse(shape.type === MAP_TYPE.lpmTrie ? "ENOSPC" : "E2BIG");
    entries.set(at, { key: bytes, value, ...(inner && { inner }) });
  }

  delete(key: K): boolean {
    this.begin("delete", this.name);
    if (this.#isArray()) throw new KernelError("bpf MAP_DELETE_ELEM", ERRNO.EINVAL, this.name);
    return this.store.entries.delete(toBuffer(this.#key, key).toString("hex"));
  }

  *keys(): IterableIterator<K> {
    for (const { key } of this.stored()) yield this.#key.decode(key, 0);
  }

  /** The entries of this moment. */
  stored(): StoredEntry[] {
    this.begin("keys", this.name);
    if (this.#isArray()) fillArray(this.store);
    return [...this.store.entries.values()];
  }

  /** An array has all its entries from the start, zero. */
  #isArray(): boolean {
    return this.store.shape.type === MAP_TYPE.array || this.store.shape.type === MAP_TYPE.percpuArray;
  }

  /** Exactly, or in a trie the entry with the longest prefix of the key. */
  #match(key: Buffer): StoredEntry | undefined {
    const { entries, shape } = this.store;
    if (this.#isArray() && key.readUInt32LE(0) < shape.maxEntries) {
      return entries.get(key.toString("hex")) ?? { key, value: Buffer.alloc(shape.valueSize) };
    }
    if (shape.type !== MAP_TYPE.lpmTrie) return entries.get(key.toString("hex"));
    let best: StoredEntry | undefined;
    for (const entry of entries.values()) {
      if (covers(entry.key, key) && (!best || entry.key.readUInt32LE(0) > best.key.readUInt32LE(0))) best = entry;
    }
    return best;
  }
}

/** Whether trie key `a` is a prefix of `b`. */
function covers(a: Buffer, b: Buffer): boolean {
  const bits = a.readUInt32LE(0);
  if (bits > b.readUInt32LE(0)) return false;
  const whole = bits >> 3;
  if (a.compare(b, 4, 4 + whole, 4, 4 + whole) !== 0) return false;
  const mask = (0xff00 >> (bits & 7)) & 0xff;
  return mask === 0 || ((a.readUInt8(4 + whole) ^ b.readUInt8(4 + whole)) & mask) === 0;
}

export class FakeMap<K, V> extends FakeTable<K> implements BpfMap<K, V> {
  readonly maxEntries: number;
  readonly #key: Codec<K>;
  readonly #value: Codec<V>;

  constructor(spec: MapSpec<K, V>, store: MapStore, context: FakeContext) {
    super(spec, store, context);
    this.#key = spec.key;
    this.#value = spec.value;
    this.maxEntries = spec.maxEntries;
  }

  get(key: K): V | undefined {
    const found = this.find("get", key);
    return found && this.#value.decode(found.value, 0);
  }

  has(key: K): boolean {
    return this.find("get", key) !== undefined;
  }

  set(key: K, value: V, mode: "any" | "new" | "existing" = "any"): void {
    this.put(key, toBuffer(this.#value, value), mode);
  }

  *entries(): IterableIterator<[K, V]> {
    for (const { key, value } of this.stored()) yield [this.#key.decode(key, 0), this.#value.decode(value, 0)];
  }

  setMany(entries: Iterable<readonly [K, V]>): void {
    for (const [key, value] of entries) this.set(key, value);
  }

  deleteMany(keys: Iterable<K>): number {
    let deleted = 0;
    for (const key of keys) if (this.delete(key)) deleted++;
    return deleted;
  }
}

/** Makes the entries of an array that nobody has written. */
function fillArray({ entries, shape }: MapStore): void {
  for (let i = 0; i < shape.maxEntries; i++) {
    const key = toBuffer(u32, i);
    const at = key.toString("hex");
    if (!entries.has(at)) entries.set(at, { key, value: Buffer.alloc(shape.valueSize) });
  }
}

export class FakePerCpuMap<K, V> extends FakeTable<K> implements PerCpuMap<K, V> {
  readonly #value: Codec<V>;

  constructor(spec: MapSpec<K, V>, store: MapStore, context: FakeContext) {
    super(spec, store, context);
    this.#value = spec.value;
  }

  get(key: K): V[] | undefined {
    const found = this.find("get", key);
    return found && Array.from({ length: this.context.cpus }, () => this.#value.decode(found.value, 0));
  }

  set(key: K, value: V): void {
    this.put(key, toBuffer(this.#value, value), "any");
  }

  *entries(): IterableIterator<[K, V[]]> {
    for (const key of this.keys()) {
      const values = this.get(key);
      if (values !== undefined) yield [key, values];
    }
  }
}

export class FakeMapOfMaps<K, IK, IV> extends FakeTable<K> implements MapOfMaps<K, IK, IV> {
  readonly #spec: MapOfMapsSpec<K, IK, IV>;
  readonly #open: (store: MapStore) => BpfMap<IK, IV>;

  constructor(spec: MapOfMapsSpec<K, IK, IV>, store: MapStore, context: FakeContext, open: (store: MapStore) => BpfMap<IK, IV>) {
    super(spec, store, context);
    this.#spec = spec;
    this.#open = open;
  }

  createInner(maxEntries = this.#spec.inner.maxEntries): BpfMap<IK, IV> {
    const { type, key, value, flags } = this.#spec.inner;
    this.begin("create", this.#spec.inner.name);
    return this.#open(newStore({ type, keySize: key.size, valueSize: value.size, maxEntries, flags }));
  }

  set(key: K, inner: BpfMap<IK, IV>): void {
    const store = storesByFd.get(inner.fd)?.deref();
    if (!store) throw new KernelError("bpf MAP_UPDATE_ELEM", ERRNO.EBADF, this.name);
    this.put(key, toBuffer(u32, store.id), "any", store);
  }

  get(key: K): BpfMap<IK, IV> | undefined {
    const inner = this.find("get", key)?.inner;
    return inner && this.#open(inner);
  }

  innerId(key: K): number | undefined {
    return this.find("get", key)?.inner?.id;
  }
}
