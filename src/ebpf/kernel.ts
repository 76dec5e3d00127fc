import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { bpf, closeBpf, loadObjectFile, readRing } from "#sys/bpf.ts";
import { check, isKernelError } from "#sys/kernel-error.ts";
import type { Bpf, BpfMap, CgroupHook, Link, LoadedObject, LoadRequest, Program, Ring, RingMap, TestInput, TestOutput } from "./bpf.ts";
import { LoadError, loadFailure, ShapeError } from "./errors.ts";
import { KernelMap, KernelPerCpuMap } from "./map.ts";
import { KernelMapOfMaps } from "./map-of-maps.ts";
import { recordsOf } from "./ring.ts";
import { type MapOfMapsSpec, type MapSpec, shapeDifference, shapeOf } from "./spec.ts";
import { CMD, createLinkFd, createMapFd, detachLink, Handle, mapInfo, objectInfo, openMapById, openPin, updateLink } from "./syscall.ts";

/** enum bpf_attach_type. */
const TCX = { ingress: 46, egress: 47 } as const;
const XDP = 37;
const SK_SKB_VERDICT = 38;
const XDP_FLAGS = { generic: 2, native: 4 } as const;
const CGROUP: Record<CgroupHook, number> = {
  ingress: 0,
  egress: 1,
  sock_create: 2,
  sock_ops: 3,
  bind4: 8,
  bind6: 9,
  connect4: 10,
  connect6: 11,
  post_bind4: 12,
  post_bind6: 13,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
  sock_release: 34,
};

class KernelProgram extends Handle implements Program {
  readonly name: string;

  constructor(fd: number, name: string) {
    super(fd);
    this.name = name;
  }
}

class KernelLink extends Handle implements Link {
  update(program: Program): void {
    updateLink(this.fd, program.fd);
  }

  detach(): void {
    detachLink(this.fd);
  }
}

class KernelRingMap extends Handle implements RingMap {
  readonly size: number;

  constructor(fd: number) {
    super(fd);
    this.size = mapInfo(fd).maxEntries;
  }
}

/** The running kernel. Needs CAP_BPF and CAP_NET_ADMIN. Holds nothing: may be opened as often as one likes. */
export function openBpf(): Bpf {
  const cpus = possibleCpus();
  return {
    createMap: (spec) => new KernelMap(createMapFd(spec.name, shapeOf(spec)), spec),
    openMap: (spec, path) => openAs(spec, path, (fd) => new KernelMap(fd, spec)),
    ensureMap,
    openPerCpuMap: (spec, path) => openAs(spec, path, (fd) => new KernelPerCpuMap(fd, spec, cpus())),
    openMapOfMaps: (spec, path) => openAs(spec, path, (fd) => new KernelMapOfMaps(fd, spec)),
    createMapOfMaps,
    load: (path, request = {}) => loadObject(path, request, cpus),
    openProgram: (path) => {
      const fd = openPin(path);
      return new KernelProgram(fd, programName(fd));
    },
    attachTcx: (program, ifindex, direction) =>
      new KernelLink(createLinkFd(program.fd, ifindex, TCX[direction], `${program.name} at interface ${ifindex}`)),
    attachXdp: (program, ifindex, mode) =>
      new KernelLink(createLinkFd(program.fd, ifindex, XDP, `${program.name} at the driver of interface ${ifindex}`, XDP_FLAGS[mode])),
    attachCgroup,
    attachSockets: (program, map) =>
      new KernelLink(createLinkFd(program.fd, map.fd, SK_SKB_VERDICT, `${program.name} at a map of sockets`)),
    openLink: (path) => new KernelLink(openPin(path)),
    testRun,
    openRing,
    openRingMap: (path) => new KernelRingMap(openPin(path)),
  };
}

/** Gives `make` the descriptor if the map has the spec's shape. */
function adopt<K, V, M>(fd: number, spec: MapSpec<K, V>, make: (fd: number) => M): M {
  const difference = shapeDifference(mapInfo(fd), shapeOf(spec));
  if (difference === "") return make(fd);
  closeBpf(fd);
  throw new ShapeError(spec.name, difference);
}

function openAs<K, V, M>(spec: MapSpec<K, V>, path: string, make: (fd: number) => M): M {
  return adopt(openPin(path), spec, make);
}

function ensureMap<K, V>(spec: MapSpec<K, V>, path: string): { map: BpfMap<K, V>; outcome: "opened" | "created" | "replaced" } {
  let outcome: "created" | "replaced" = "created";
  try {
    return { map: openAs(spec, path, (fd) => new KernelMap(fd, spec)), outcome: "opened" };
  } catch (error) {
    if (error instanceof ShapeError) outcome = "replaced";
    else if (!isKernelError(error, "ENOENT")) throw error;
  }
  const map = new KernelMap(createMapFd(spec.name, shapeOf(spec)), spec);
  rmSync(path, { force: true });
  map.pin(path);
  return { map, outcome };
}

function createMapOfMaps<K, IK, IV>(spec: MapOfMapsSpec<K, IK, IV>): KernelMapOfMaps<K, IK, IV> {
  const template = createMapFd(spec.inner.name, shapeOf(spec.inner));
  try {
    return new KernelMapOfMaps(createMapFd(spec.name, shapeOf(spec), template), spec);
  } finally {
    closeBpf(template);
  }
}

function attachCgroup(program: Program, directory: string, hook: CgroupHook): Link {
  const target = openSync(directory, "r");
  try {
    return new KernelLink(createLinkFd(program.fd, target, CGROUP[hook], `${program.name} at ${directory}`));
  } finally {
    closeSync(target);
  }
}

function openRing(map: RingMap, onBatch: (batch: Iterable<Buffer>) => void): Ring {
  let stop: (() => void) | undefined = readRing(map.fd, map.size, (batch) => onBatch(recordsOf(batch)));
  const close = () => {
    stop?.();
    stop = undefined;
  };
  return { close, [Symbol.dispose]: close };
}

const CONTEXT_SIZE = 256;
const SLACK = 4096;

function testRun(program: Program, { packet, context, repeat = 1 }: TestInput): TestOutput {
  const attr = Buffer.alloc(64);
  const out = Buffer.alloc(packet.length + SLACK);
  const contextOut = Buffer.alloc(CONTEXT_SIZE);
  attr.writeUInt32LE(program.fd, 0);
  attr.writeUInt32LE(packet.length, 8);
  attr.writeUInt32LE(out.length, 12);
  attr.writeUInt32LE(repeat, 32);
  attr.writeUInt32LE(context?.length ?? 0, 40);
  attr.writeUInt32LE(context ? contextOut.length : 0, 44);
  const pointers = context ? [48, context, 56, contextOut] : [];
  check("bpf PROG_TEST_RUN", bpf(CMD.progTestRun, attr, 16, packet, 24, out, ...pointers), program.name);
  return {
    returnValue: attr.readInt32LE(4),
    packet: out.subarray(0, attr.readUInt32LE(12)),
    context: contextOut.subarray(0, attr.readUInt32LE(44)),
    durationNs: attr.readUInt32LE(36),
  };
}

function loadObject(path: string, request: LoadRequest, cpus: () => number): LoadedObject {
  const result = loadObjectFile(
    path,
    {
      ...(request.config && { config: request.config }),
      ...(request.maxEntries && { maxEntries: request.maxEntries }),
      ...(request.reuse && { reuse: mapValues(request.reuse, ({ fd }) => fd) }),
      ...(request.only && { only: Object.fromEntries(request.only.map((name) => [name, true as const])) }),
    },
    request.pinRoot,
  );
  const object = basename(path);
  if (!result.programs) throw loadFailure(object, result);
  const programs = new Map(Object.entries(result.programs).map(([name, fd]) => [name, new KernelProgram(fd, name)]));
  const maps = new Map(Object.entries(result.maps).map(([name, fd]) => [name, new Handle(fd)]));
  const find = <T>(kind: string, all: ReadonlyMap<string, T>, name: string): T => {
    const found = all.get(name);
    if (found === undefined) throw new LoadError(`${object} has no ${kind} ${name}; it has ${[...all.keys()].join(", ")}`, "ENOENT");
    return found;
  };
  const own = <K, V, M>(spec: MapSpec<K, V>, make: (fd: number) => M) => adopt(duplicate(find("map", maps, spec.name).fd), spec, make);
  const close = () => {
    for (const handle of [...programs.values(), ...maps.values()]) handle.close();
  };
  return {
    programs,
    program: (name) => find("program", programs, name),
    map: (spec) => own(spec, (fd) => new KernelMap(fd, spec)),
    perCpuMap: (spec) => own(spec, (fd) => new KernelPerCpuMap(fd, spec, cpus())),
    mapOfMaps: (spec) => own(spec, (fd) => new KernelMapOfMaps(fd, spec)),
    ringMap: (name) => new KernelRingMap(duplicate(find("map", maps, name).fd)),
    mapNames: [...maps.keys()],
    close,
    [Symbol.dispose]: close,
  };
}

/** Another descriptor of the same map, so that each handle closes its own. */
function duplicate(fd: number): number {
  return openMapById(mapInfo(fd).id);
}

function programName(fd: number): string {
  const info = objectInfo(fd, 80);
  return info.toString("latin1", 64, 80).replace(/\0.*$/s, "");
}

function mapValues<A, B>(from: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, change(value)]));
}

/** The CPUs per-CPU maps have values for: from "0-3" in sysfs, read once. */
function possibleCpus(): () => number {
  let count = 0;
  return () => {
    count ||= readFileSync("/sys/devices/system/cpu/possible", "utf8")
      .trim()
      .split(",")
      .reduce((sum, range) => {
        const [first = 0, last = first] = range.split("-").map(Number);
        return sum + last - first + 1;
      }, 0);
    return count;
  };
}
