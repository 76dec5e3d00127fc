import type { Codec } from "./codec.ts";

/** Kinds of maps with the kernel's numbers (enum bpf_map_type). */
export const MAP_TYPE = {
  hash: 1,
  array: 2,
  percpuHash: 5,
  percpuArray: 6,
  lruHash: 9,
  lruPercpuHash: 10,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  sockhash: 18,
  ringbuf: 27,
} as const;

/** Flag of maps that allocate entries when they are written. */
export const NO_PREALLOC = 1;

/** Everything about a map but its content: generated from the C definition, or written by hand. */
export interface MapSpec<K, V> {
  readonly name: string;
  /** One of `MAP_TYPE`. */
  readonly type: number;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
  readonly maxEntries: number;
  readonly flags: number;
}

/** A map whose values are maps of one shape; in memory the value is a u32. */
export interface MapOfMapsSpec<K, IK, IV> extends MapSpec<K, number> {
  readonly inner: MapSpec<IK, IV>;
}

/** The numbers two maps must share to be of the same shape. */
export interface MapShape {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export function shapeOf<K, V>(spec: MapSpec<K, V>): MapShape {
  return { type: spec.type, keySize: spec.key.size, valueSize: spec.value.size, maxEntries: spec.maxEntries, flags: spec.flags };
}

const FIELD_NAMES = { type: "type", keySize: "key size", valueSize: "value size", maxEntries: "max entries", flags: "flags" } as const;

/** What differs, in words ("value size 16 instead of 20"); empty when the shapes are the same. */
export function shapeDifference(found: MapShape, wanted: MapShape): string {
  return (Object.keys(FIELD_NAMES) as (keyof typeof FIELD_NAMES)[])
    .filter((field) => found[field] !== wanted[field])
    .map((field) => `${FIELD_NAMES[field]} ${found[field]} instead of ${wanted[field]}`)
    .join(", ");
}
