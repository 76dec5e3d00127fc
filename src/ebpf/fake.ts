import { existsSync, statSync } from "node:fs";
import { basename } from "node:path";
import { ERRNO } from "#sys/errno.ts";
import { KernelError } from "#sys/kernel-error.ts";
import type { Bpf, BpfMap, CgroupHook, Link, LoadedObject, LoadRequest, MapOfMaps, PerCpuMap, Program, RingMap } from "./bpf.ts";
import { ShapeError } from "./errors.ts";
import { FakeMap, FakeMapOfMaps, FakePerCpuMap, type MapStore, newStore } from "./fake-map.ts";
import { MAP_TYPE, type MapOfMapsSpec, type MapSpec, shapeDifference, shapeOf } from "./spec.ts";

/** One call about to be done: throw to make it fail. `operation` is "set", "delete", "get", "pin", "load", "attach", … */
export type FailureInjector = (operation: string, about: string) => void;

export interface FakeAttachment {
  /** "tcx ingress 7", "cgroup connect4 /sys/fs/cgroup". */
  readonly where: string;
  program: string;
  detached: boolean;
}

/** A kernel in memory. `pins` and `attachments` are what a test looks at; the rest is `Bpf`. */
export interface FakeBpf extends Bpf {
  readonly pins: ReadonlyMap<string, unknown>;
  readonly attachments: readonly FakeAttachment[];
  /** Hands records to the readers of the ring buffer of that name, or pinned at that path. */
  emit(ring: string, records: readonly Uint8Array[]): void;
  /** What the pinned map's `fake` content is, without failures: [key, value] pairs in no order. */
  dump<K, V>(spec: MapSpec<K, V>, path: string): [K, V][];
}

export interface FakeOptions {
  readonly fail?: FailureInjector;
  readonly cpus?: number;
  /** The maps every object has: found or pinned when one is loaded with `pinRoot`. Others come to be when they are asked for. */
  readonly maps?: readonly { readonly name: string; readonly type: number }[];
}

interface FakeRing {
  readonly name: string;
  readonly readers: Set<(batch: Iterable<Buffer>) => void>;
}

type Pinned =
  | { readonly kind: "map"; readonly store: MapStore }
  | { readonly kind: "program"; readonly name: string }
  | { readonly kind: "link"; readonly attachment: FakeAttachment }
  | { readonly kind: "ring"; readonly ring: FakeRing };

/** Numbers that stand for descriptors: unique, never real ones. */
let nextFd = 1_000_000;

/** A `Bpf` of its own. Bytes go through the codecs as in the kernel; loading runs no verifier and programs do nothing. */
export function createFakeBpf({ fail = () => {}, cpus = 2, maps = [] }: FakeOptions = {}): FakeBpf {
  const pins = new Map<string, Pinned>();
  const attachments: FakeAttachment[] = [];
  const rings = new Map<string, FakeRing>();

  const pinAt = (path: string, object: Pinned) => {
    fail("pin", path);
    if (pins.has(path)) throw new KernelError("bpf OBJ_PIN", ERRNO.EEXIST, path);
    pins.set(path, object);
  };
  const pinned = <K extends Pinned["kind"]>(path: string, kind: K): Extract<Pinned, { kind: K }> => {
    fail("open", path);
    const found = pins.get(path);
    if (found === undefined) throw new KernelError("bpf OBJ_GET", ERRNO.ENOENT, path);
    if (found.kind !== kind) throw new KernelError("bpf OBJ_GET", ERRNO.EINVAL, path);
    return found as Extract<Pinned, { kind: K }>;
  };
  const handleOf = (object: Pinned) => ({
    fd: nextFd++,
    pin: (path: string) => pinAt(path, object),
    close: () => {},
    [Symbol.dispose]: () => {},
  });
  const context = (store: MapStore) => ({ fail, cpus, ...handleOf({ kind: "map", store }) });
  const openStore = <K, V>(spec: MapSpec<K, V>, path: string): MapStore => {
    const { store } = pinned(path, "map");
    const difference = shapeDifference(store.shape, shapeOf(spec));
    if (difference !== "") throw new ShapeError(spec.name, difference);
    return store;
  };
  const mapOn = <K, V>(spec: MapSpec<K, V>, store: MapStore): BpfMap<K, V> => new FakeMap(spec, store, context(store));
  const outerOn = <K, IK, IV>(spec: MapOfMapsSpec<K, IK, IV>, store: MapStore): MapOfMaps<K, IK, IV> =>
    new FakeMapOfMaps(spec, store, context(store), (inner) => mapOn(spec.inner, inner));
  const programOf = (name: string): Program => ({ name, ...handleOf({ kind: "program", name }) });
  const linkOf = (attachment: FakeAttachment): Link => ({
    ...handleOf({ kind: "link", attachment }),
    update(program) {
      fail("update", attachment.where);
      if (attachment.detached) throw new KernelError("bpf LINK_UPDATE", ERRNO.ENOLINK, attachment.where);
      attachment.program = program.name;
    },
    detach() {
      attachment.detached = true;
    },
  });
  const attach = (program: Program, where: string): Link => {
    fail("attach", where);
    const attachment = { where, program: program.name, detached: false };
    attachments.push(attachment);
    return linkOf(attachment);
  };
  const ringOf = (name: string): FakeRing => {
    const ring = rings.get(name) ?? { name, readers: new Set() };
    rings.set(name, ring);
    return ring;
  };
  const ringMap = (ring: FakeRing): RingMap & { ring: FakeRing } => ({ size: 4096, ring, ...handleOf({ kind: "ring", ring }) });

  const fake: FakeBpf = {
    pins,
    attachments,
    createMap(spec) {
      fail("create", spec.name);
      return mapOn(spec, newStore(shapeOf(spec)));
    },
    openMap: (spec, path) => mapOn(spec, openStore(spec, path)),
    ensureMap(spec, path) {
      const found = pins.get(path);
      if (found?.kind === "map" && shapeDifference(found.store.shape, shapeOf(spec)) === "")
        return { map: fake.openMap(spec, path), outcome: "opened" };
      const map = fake.createMap(spec);
      pins.delete(path);
      map.pin(path);
      return { map, outcome: found ? "replaced" : "created" };
    },
    openPerCpuMap: <K, V>(spec: MapSpec<K, V>, path: string): PerCpuMap<K, V> => {
      const store = openStore(spec, path);
      return new FakePerCpuMap(spec, store, context(store));
    },
    createMapOfMaps: (spec) => outerOn(spec, newStore(shapeOf(spec))),
    openMapOfMaps: (spec, path) => outerOn(spec, openStore(spec, path)),
    load: (path, request = {}) => loadFake(path, request),
    openProgram: (path) => programOf(pinned(path, "program").name),
    attachTcx: (program, ifindex, direction) => attach(program, `tcx ${direction} ${ifindex}`),
    attachXdp: (program, ifindex, mode) => attach(program, `xdp ${mode} ${ifindex}`),
    attachSockets: (program) => attach(program, "sockets"),
    attachCgroup(program, directory, hook: CgroupHook) {
      if (existsSync(directory) && !statSync(directory).isDirectory()) throw new KernelError("open", ERRNO.ENOTDIR, directory);
      return attach(program, `cgroup ${hook} ${directory}`);
    },
    openLink: (path) => linkOf(pinned(path, "link").attachment),
    testRun() {
      throw new KernelError("bpf PROG_TEST_RUN", ERRNO.EOPNOTSUPP, "the fake runs no programs");
    },
    openRingMap: (path) => ringMap(pinned(path, "ring").ring),
    openRing(map, onBatch) {
      const { ring } = map as RingMap & { ring: FakeRing };
      ring.readers.add(onBatch);
      const close = () => void ring.readers.delete(onBatch);
      return { close, [Symbol.dispose]: close };
    },
    emit(name, records) {
      const found = pins.get(name);
      const ring = found?.kind === "ring" ? found.ring : rings.get(name);
      for (const reader of ring?.readers ?? []) reader(records.map((record) => Buffer.from(record)));
    },
    dump(spec, path) {
      const found = pins.get(path);
      if (found?.kind !== "map") return [];
      return [...found.store.entries.values()].map(({ key, value }) => [spec.key.decode(key, 0), spec.value.decode(value, 0)]);
    },
  };

  /** A loaded object has each program and map that is asked for; with `pinRoot` its maps are found or pinned there. */
  function loadFake(path: string, request: LoadRequest): LoadedObject {
    fail("load", basename(path));
    const programs = new Map<string, Program>();
    const named = (name: string) => programs.get(name) ?? programOf(name);
    const stores = new Map<string, MapStore>();
    const store = <K, V>(spec: MapSpec<K, V>): MapStore => {
      const pin = request.pinRoot && `${request.pinRoot}/${spec.name}`;
      const found = pin && pins.has(pin) ? openStore(spec, pin) : stores.get(spec.name);
      const made = found ?? newStore(shapeOf(spec));
      stores.set(spec.name, made);
      if (pin && !found) pinAt(pin, { kind: "map", store: made });
      return made;
    };
    const ring = (name: string) => {
      const pin = request.pinRoot && `${request.pinRoot}/${name}`;
      const made = ringOf(pin ?? name);
      if (pin && !pins.has(pin)) pinAt(pin, { kind: "ring", ring: made });
      return ringMap(made);
    };
    for (const spec of maps) {
      if (spec.type === MAP_TYPE.ringbuf) ring(spec.name);
      else store(spec as MapSpec<unknown, unknown>);
    }
    return {
      programs,
      mapNames: [],
      program(name) {
        const program = named(name);
        programs.set(name, program);
        return program;
      },
      map: (spec) => mapOn(spec, store(spec)),
      perCpuMap: (spec) => {
        const made = store(spec);
        return new FakePerCpuMap(spec, made, context(made));
      },
      mapOfMaps: (spec) => outerOn(spec, store(spec)),
      ringMap: ring,
      close: () => {},
      [Symbol.dispose]: () => {},
    };
  }
  return fake;
}
