import { bpf, closeBpf } from "#sys/bpf.ts";
import { check, isKernelError } from "#sys/kernel-error.ts";
import { MAP_TYPE, NO_PREALLOC } from "./spec.ts";
import { CMD, createLinkFd, createMapFd } from "./syscall.ts";

/** Something of the kernel's eBPF, and whether this one has it: found out by trying, since version numbers lie where features were ported back. */
export interface Feature {
  readonly name: string;
  readonly available: boolean;
}

/** Kinds of programs (enum bpf_prog_type). */
const PROGRAM = { schedCls: 3, cgroupSockAddr: 18 } as const;
const CGROUP_INET4_CONNECT = 10;
const TCX_INGRESS = 46;

/** Helpers that kernels of the supported age may lack (enum bpf_func_id), by the kind of program that wants them. */
const HELPERS = [
  ["bpf_redirect_peer", 155, PROGRAM.schedCls],
  ["bpf_redirect_neigh", 152, PROGRAM.schedCls],
  ["bpf_skc_lookup_tcp", 99, PROGRAM.schedCls],
  ["bpf_sk_assign", 124, PROGRAM.schedCls],
  ["bpf_ringbuf_output", 130, PROGRAM.schedCls],
  ["bpf_ktime_get_boot_ns", 125, PROGRAM.schedCls],
  ["bpf_get_netns_cookie", 122, PROGRAM.cgroupSockAddr],
  ["bpf_get_socket_cookie", 46, PROGRAM.cgroupSockAddr],
] as const;

const MAPS = ["hash", "lruHash", "lpmTrie", "hashOfMaps", "percpuHash", "ringbuf"] as const;

/** Tries everything; takes some tens of milliseconds and leaves nothing behind. Throws `KernelError` EPERM without CAP_BPF. */
export function probeFeatures(): Feature[] {
  return [
    ...MAPS.map((kind) => ({ name: `map ${kind}`, available: hasMap(kind) })),
    ...HELPERS.map(([name, id, program]) => ({ name: `helper ${name}`, available: hasHelper(program, id) })),
    { name: "program cgroup/connect4", available: loads(PROGRAM.cgroupSockAddr, CGROUP_INET4_CONNECT) },
    { name: "link tcx", available: hasTcx() },
  ];
}

function hasMap(kind: (typeof MAPS)[number]): boolean {
  const ring = kind === "ringbuf";
  const shape = {
    type: MAP_TYPE[kind],
    keySize: ring ? 0 : kind === "lpmTrie" ? 8 : 4,
    valueSize: ring ? 0 : 4,
    maxEntries: ring ? 4096 : 1,
    flags: kind === "lpmTrie" ? NO_PREALLOC : 0,
  };
  return attempt(() => {
    if (kind !== "hashOfMaps") return createMapFd("probe", shape);
    const inner = createMapFd("probe", { ...shape, type: MAP_TYPE.hash });
    try {
      return createMapFd("probe", shape, inner);
    } finally {
      closeBpf(inner);
    }
  });
}

/** Makes something and closes it. Only "the kernel does not know this" counts as no. */
function attempt(make: () => number): boolean {
  try {
    closeBpf(make());
    return true;
  } catch (error) {
    if (isKernelError(error, "EINVAL", "EOPNOTSUPP", "ENOTSUPP")) return false;
    throw error;
  }
}

const EXIT = 0x95n;
const MOV_R0_1 = 0x0000_0001_0000_00b7n;
/** TCX_NEXT, -1: as if the program were not there. */
const MOV_R0_NEXT = 0xffff_ffff_0000_00b7n;
const call = (helper: number) => (BigInt(helper) << 32n) | 0x85n;

/** The program's descriptor or -errno, and what the verifier said. */
function load(type: number, instructions: readonly bigint[], attachType = 0): { readonly fd: number; readonly log: string } {
  const code = Buffer.alloc(instructions.length * 8);
  instructions.forEach((instruction, i) => {
    code.writeBigUInt64LE(instruction, i * 8);
  });
  const log = Buffer.alloc(4096);
  const attr = Buffer.alloc(72);
  attr.writeUInt32LE(type, 0);
  attr.writeUInt32LE(instructions.length, 4);
  attr.writeUInt32LE(1, 24);
  attr.writeUInt32LE(log.length, 28);
  attr.writeUInt32LE(attachType, 68);
  const fd = bpf(CMD.progLoad, attr, 8, code, 16, Buffer.from("GPL\0"), 32, log);
  return { fd, log: log.toString("latin1").replace(/\0.*$/s, "") };
}

/** A program that does nothing is refused only when its kind is unknown. */
function loads(type: number, attachType: number): boolean {
  return attempt(() => check("bpf PROG_LOAD", load(type, [MOV_R0_1, EXIT], attachType).fd));
}

/** A call without arguments is refused for its arguments, or because there is no such function. */
function hasHelper(program: number, helper: number): boolean {
  const { fd, log } = load(program, [call(helper), EXIT], program === PROGRAM.cgroupSockAddr ? CGROUP_INET4_CONNECT : 0);
  if (fd >= 0) closeBpf(fd);
  return fd >= 0 || !/unknown func|invalid func|cannot use helper/.test(log);
}

/** At `lo` of the own namespace, for an instant, with a program that lets everything pass. */
function hasTcx(): boolean {
  const fd = check("bpf PROG_LOAD", load(PROGRAM.schedCls, [MOV_R0_NEXT, EXIT]).fd);
  try {
    return attempt(() => createLinkFd(fd, 1, TCX_INGRESS, "lo"));
  } finally {
    closeBpf(fd);
  }
}
