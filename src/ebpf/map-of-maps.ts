import type { BpfMap, MapOfMaps } from "./bpf.ts";
import { u32 } from "./codec.ts";
import { KernelMap } from "./map.ts";
import { type MapOfMapsSpec, shapeOf } from "./spec.ts";
import { createMapFd, Handle, openMapById } from "./syscall.ts";

/** Written with the inner map's descriptor, read as its id. */
export class KernelMapOfMaps<K, IK, IV> extends Handle implements MapOfMaps<K, IK, IV> {
  readonly name: string;
  readonly #spec: MapOfMapsSpec<K, IK, IV>;
  readonly #raw: KernelMap<K, number>;

  constructor(fd: number, spec: MapOfMapsSpec<K, IK, IV>) {
    super(fd);
    this.name = spec.name;
    this.#spec = spec;
    this.#raw = new KernelMap(fd, { ...spec, value: u32 });
  }

  createInner(maxEntries = this.#spec.inner.maxEntries): BpfMap<IK, IV> {
    const spec = { ...this.#spec.inner, maxEntries };
    return new KernelMap(createMapFd(spec.name, shapeOf(spec)), spec);
  }

  set(key: K, inner: BpfMap<IK, IV>): void {
    this.#raw.set(key, inner.fd);
  }

  get(key: K): BpfMap<IK, IV> | undefined {
    const id = this.innerId(key);
    return id === undefined ? undefined : new KernelMap(openMapById(id), this.#spec.inner);
  }

  innerId(key: K): number | undefined {
    return this.#raw.get(key);
  }

  delete(key: K): boolean {
    return this.#raw.delete(key);
  }

  keys(): IterableIterator<K> {
    return this.#raw.keys();
  }
}
