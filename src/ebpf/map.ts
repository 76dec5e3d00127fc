import { bpf } from "#sys/bpf.ts";
import { check } from "#sys/kernel-error.ts";
import { deleteBatch, lookupBatch, updateBatch } from "./batch.ts";
import type { BpfMap, PerCpuMap } from "./bpf.ts";
import type { Codec } from "./codec.ts";
import type { MapSpec } from "./spec.ts";
import { CMD, Handle } from "./syscall.ts";

const ENOENT = -2;
const MODES = { any: 0, new: 1, existing: 2 } as const;

/** The system calls of one map on raw bytes. Its buffers are reused: what `value` holds is valid until the next call. */
class RawMap extends Handle {
  readonly name: string;
  readonly key: Buffer;
  readonly value: Buffer;
  readonly #next: Buffer;
  readonly #attr = Buffer.alloc(32);

  constructor(fd: number, name: string, keySize: number, valueSize: number) {
    super(fd);
    this.name = name;
    this.key = Buffer.alloc(keySize);
    this.value = Buffer.alloc(valueSize);
    this.#next = Buffer.alloc(keySize);
    this.#attr.writeUInt32LE(fd, 0);
  }

  lookup(): boolean {
    return this.#found("lookup", this.#call(CMD.mapLookup, 0, this.value));
  }

  update(mode: number): void {
    check("bpf MAP_UPDATE_ELEM", this.#call(CMD.mapUpdate, mode, this.value), this.name);
  }

  remove(): boolean {
    return this.#found("delete", this.#call(CMD.mapDelete, 0, null));
  }

  /** The key after `from`, or the first; undefined at the end. A `from` that is gone gives the first again, as the kernel does. */
  next(from: Buffer | null): Buffer | undefined {
    void this.fd;
    this.#attr.writeUInt32LE(0, 24);
    const result = bpf(CMD.mapNextKey, this.#attr, 8, from, 16, this.#next);
    return this.#found("next key", result) ? this.#next : undefined;
  }

  /** The kernel refuses fields a command does not have: deleting takes no value. */
  #call(command: number, flags: number, value: Buffer | null): number {
    void this.fd;
    this.#attr.writeUInt32LE(flags, 24);
    return bpf(command, this.#attr, 8, this.key, 16, value);
  }

  #found(what: string, result: number): boolean {
    if (result !== ENOENT) check(`bpf map ${what}`, result, this.name);
    return result !== ENOENT;
  }
}

/** Walks by key. The next key is read before the present one is given out, so that the caller may delete it. */
function* walk<K>(raw: RawMap, codec: Codec<K>, maxEntries: number): Generator<K> {
  let at = raw.next(null);
  // A key deleted by others sends the walk back to the start: bounded, so that it ends in a map that never rests.
  for (let left = 2 * maxEntries + 16; at !== undefined && left > 0; left--) {
    const from = Buffer.from(at);
    const following = raw.next(from);
    const saved = following === undefined ? undefined : Buffer.from(following);
    yield codec.decode(from, 0);
    at = saved;
  }
}

/** A map with one value a key. */
export class KernelMap<K, V> extends RawMap implements BpfMap<K, V> {
  readonly maxEntries: number;
  readonly #spec: MapSpec<K, V>;

  constructor(fd: number, spec: MapSpec<K, V>) {
    super(fd, spec.name, spec.key.size, spec.value.size);
    this.#spec = spec;
    this.maxEntries = spec.maxEntries;
  }

  get(key: K): V | undefined {
    this.#spec.key.encode(key, this.key, 0);
    return this.lookup() ? this.#spec.value.decode(this.value, 0) : undefined;
  }

  has(key: K): boolean {
    this.#spec.key.encode(key, this.key, 0);
    return this.lookup();
  }

  set(key: K, value: V, mode: keyof typeof MODES = "any"): void {
    this.#spec.key.encode(key, this.key, 0);
    this.#spec.value.encode(value, this.value, 0);
    this.update(MODES[mode]);
  }

  delete(key: K): boolean {
    this.#spec.key.encode(key, this.key, 0);
    return this.remove();
  }

  *keys(): IterableIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  entries(): IterableIterator<[K, V]> {
    return lookupBatch(this.#batch());
  }

  setMany(entries: Iterable<readonly [K, V]>): void {
    updateBatch(this.#batch(), entries);
  }

  deleteMany(keys: Iterable<K>): number {
    return deleteBatch(this.#batch(), keys);
  }

  #batch() {
    return { fd: this.fd, name: this.name, key: this.#spec.key, value: this.#spec.value };
  }
}

/** A map with a value for each possible CPU, each on 8 bytes of its own. */
export class KernelPerCpuMap<K, V> extends RawMap implements PerCpuMap<K, V> {
  readonly #spec: MapSpec<K, V>;
  readonly #stride: number;

  constructor(fd: number, spec: MapSpec<K, V>, cpus: number) {
    const stride = (spec.value.size + 7) & ~7;
    super(fd, spec.name, spec.key.size, stride * cpus);
    this.#spec = spec;
    this.#stride = stride;
  }

  get(key: K): V[] | undefined {
    this.#spec.key.encode(key, this.key, 0);
    if (!this.lookup()) return undefined;
    return Array.from({ length: this.value.length / this.#stride }, (_, cpu) => this.#spec.value.decode(this.value, cpu * this.#stride));
  }

  set(key: K, value: V): void {
    this.#spec.key.encode(key, this.key, 0);
    this.value.fill(0);
    for (let at = 0; at < this.value.length; at += this.#stride) this.#spec.value.encode(value, this.value, at);
    this.update(MODES.any);
  }

  delete(key: K): boolean {
    this.#spec.key.encode(key, this.key, 0);
    return this.remove();
  }

  *entries(): IterableIterator<[K, V[]]> {
    for (const key of walk(this, this.#spec.key, this.#spec.maxEntries)) {
      const values = this.get(key);
      if (values !== undefined) yield [key, values];
    }
  }
}
