import { bpf, closeBpf } from "#sys/bpf.ts";
import { check } from "#sys/kernel-error.ts";
import type { MapShape } from "./spec.ts";

/** Commands of bpf(2) (enum bpf_cmd). */
export const CMD = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  mapNextKey: 4,
  progLoad: 5,
  objPin: 6,
  objGet: 7,
  progTestRun: 10,
  mapGetById: 14,
  infoByFd: 15,
  mapLookupBatch: 24,
  mapUpdateBatch: 26,
  mapDeleteBatch: 27,
  linkCreate: 28,
  linkUpdate: 29,
  linkDetach: 34,
} as const;

/** Pins the object behind `fd` at `path`. */
export function pinAt(fd: number, path: string): void {
  const attr = Buffer.alloc(16);
  attr.writeUInt32LE(fd, 8);
  check("bpf OBJ_PIN", bpf(CMD.objPin, attr, 0, cString(path)), path);
}

/** Opens the object pinned at `path`. */
export function openPin(path: string): number {
  return check("bpf OBJ_GET", bpf(CMD.objGet, Buffer.alloc(16), 0, cString(path)), path);
}

export function createMapFd(name: string, shape: MapShape, innerFd?: number): number {
  const attr = Buffer.alloc(72);
  attr.writeUInt32LE(shape.type, 0);
  attr.writeUInt32LE(shape.keySize, 4);
  attr.writeUInt32LE(shape.valueSize, 8);
  attr.writeUInt32LE(shape.maxEntries, 12);
  attr.writeUInt32LE(shape.flags, 16);
  if (innerFd !== undefined) attr.writeUInt32LE(innerFd, 20);
  // Kernel names are 15 characters.
  attr.write(name.slice(0, 15), 28, "latin1");
  return check("bpf MAP_CREATE", bpf(CMD.mapCreate, attr), name);
}

/** `struct bpf_map_info`, as far as needed. */
export interface MapInfo extends MapShape {
  readonly id: number;
}

export function mapInfo(fd: number): MapInfo {
  const info = objectInfo(fd, 80);
  return {
    type: info.readUInt32LE(0),
    id: info.readUInt32LE(4),
    keySize: info.readUInt32LE(8),
    valueSize: info.readUInt32LE(12),
    maxEntries: info.readUInt32LE(16),
    flags: info.readUInt32LE(20),
  };
}

/** The first `size` bytes of what the kernel tells of a map, program or link. */
export function objectInfo(fd: number, size: number): Buffer {
  const info = Buffer.alloc(size);
  const attr = Buffer.alloc(16);
  attr.writeUInt32LE(fd, 0);
  attr.writeUInt32LE(size, 4);
  check("bpf OBJ_GET_INFO_BY_FD", bpf(CMD.infoByFd, attr, 8, info));
  return info;
}

export function openMapById(id: number): number {
  const attr = Buffer.alloc(16);
  attr.writeUInt32LE(id, 0);
  return check("bpf MAP_GET_FD_BY_ID", bpf(CMD.mapGetById, attr), `map ${id}`);
}

/** BPF_LINK_CREATE of `program` at a device or cgroup. */
export function createLinkFd(programFd: number, target: number, attachType: number, about: string, flags = 0): number {
  const attr = Buffer.alloc(64);
  attr.writeUInt32LE(programFd, 0);
  attr.writeUInt32LE(target, 4);
  attr.writeUInt32LE(attachType, 8);
  attr.writeUInt32LE(flags, 12);
  return check("bpf LINK_CREATE", bpf(CMD.linkCreate, attr), about);
}

/** BPF_LINK_UPDATE: another program in the same place, atomically. */
export function updateLink(linkFd: number, programFd: number): void {
  const attr = Buffer.alloc(16);
  attr.writeUInt32LE(linkFd, 0);
  attr.writeUInt32LE(programFd, 4);
  check("bpf LINK_UPDATE", bpf(CMD.linkUpdate, attr));
}

export function detachLink(linkFd: number): void {
  const attr = Buffer.alloc(4);
  attr.writeUInt32LE(linkFd, 0);
  check("bpf LINK_DETACH", bpf(CMD.linkDetach, attr));
}

/** A descriptor that can be pinned and closed once. */
export class Handle implements Disposable {
  readonly #fd: number;
  #open = true;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get fd(): number {
    if (!this.#open) throw new TypeError("used after close");
    return this.#fd;
  }

  pin(path: string): void {
    pinAt(this.fd, path);
  }

  close(): void {
    if (this.#open) closeBpf(this.#fd);
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
