import { bpf } from "#sys/bpf.ts";
import { ERRNO } from "#sys/errno.ts";
import { check } from "#sys/kernel-error.ts";
import type { Codec } from "./codec.ts";
import { CMD } from "./syscall.ts";

/** Many entries a system call: three to ten times as fast as one by one. */
const CHUNK = 1024;

/** What the calls need of a map. */
interface BatchMap<K, V> {
  readonly fd: number;
  readonly name: string;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
}

interface BatchResult {
  /** 0 or -errno. */
  readonly result: number;
  /** Entries done before that. */
  readonly done: number;
}

function call(command: number, fd: number, count: number, ...pointers: (number | Buffer | null)[]): BatchResult {
  const attr = Buffer.alloc(56);
  attr.writeUInt32LE(count, 32);
  attr.writeUInt32LE(fd, 36);
  const result = bpf(command, attr, ...pointers);
  return { result, done: attr.readUInt32LE(32) };
}

/** Bytes for one call, which is over before the next begins: a buffer for each is a page fault for every 4 kB. */
const scratch = { keys: Buffer.alloc(0), values: Buffer.alloc(0) };

function room(which: keyof typeof scratch, size: number): Buffer {
  if (scratch[which].length < size) scratch[which] = Buffer.alloc(size);
  return scratch[which];
}

/** Writes all; throws at the first entry that is refused, those before it are written. */
export function updateBatch<K, V>(map: BatchMap<K, V>, entries: Iterable<readonly [K, V]>): void {
  const list = Array.isArray(entries) ? (entries as readonly (readonly [K, V])[]) : [...entries];
  const most = Math.min(CHUNK, list.length);
  const [keys, values] = [room("keys", most * map.key.size), room("values", most * map.value.size)];
  let count = 0;
  const flush = () => {
    if (count > 0) check("bpf MAP_UPDATE_BATCH", call(CMD.mapUpdateBatch, map.fd, count, 16, keys, 24, values).result, map.name);
    count = 0;
  };
  for (const [key, value] of list) {
    map.key.encode(key, keys, count * map.key.size);
    map.value.encode(value, values, count * map.value.size);
    if (++count === CHUNK) flush();
  }
  flush();
}

/** Deletes those that are there; the answer is how many were. */
export function deleteBatch<K>(map: Omit<BatchMap<K, unknown>, "value">, keys: Iterable<K>): number {
  const list = [...keys];
  const bytes = Buffer.allocUnsafe(list.length * map.key.size);
  list.forEach((key, i) => {
    map.key.encode(key, bytes, i * map.key.size);
  });
  let deleted = 0;
  for (let at = 0; at < list.length; ) {
    const { result, done } = call(CMD.mapDeleteBatch, map.fd, list.length - at, 16, bytes.subarray(at * map.key.size));
    deleted += done;
    // It stops at a key that is not there: go on behind it.
    at += result === 0 ? done : done + 1;
    if (result !== 0 && result !== -ERRNO.ENOENT) check("bpf MAP_DELETE_BATCH", result, map.name);
  }
  return deleted;
}

/** Reads everything, a chunk at a time. What changes meanwhile may be missed or come twice. */
export function* lookupBatch<K, V>(map: BatchMap<K, V>): Generator<[K, V]> {
  // The kernel's place in the map: a bucket number, or a key in tries.
  const [from, to] = [Buffer.alloc(Math.max(8, map.key.size)), Buffer.alloc(Math.max(8, map.key.size))];
  let size = CHUNK;
  for (let first = true; ; ) {
    const [keys, values] = [Buffer.alloc(size * map.key.size), Buffer.alloc(size * map.value.size)];
    const { result, done } = call(CMD.mapLookupBatch, map.fd, size, 0, first ? null : from, 8, to, 16, keys, 24, values);
    if (result === -ERRNO.ENOSPC) {
      // One bucket holds more than fits: again from the same place with more room.
      size *= 2;
      continue;
    }
    if (result !== -ERRNO.ENOENT) check("bpf MAP_LOOKUP_BATCH", result, map.name);
    for (let i = 0; i < done; i++) yield [map.key.decode(keys, i * map.key.size), map.value.decode(values, i * map.value.size)];
    if (result !== 0) return;
    to.copy(from);
    first = false;
  }
}
