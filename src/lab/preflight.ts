import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { type Feature, probeFeatures } from "#ebpf/features.ts";
import { findCgroup2 } from "#sys/mount.ts";
import { LabError, needsRoot } from "./errors.ts";
import { formatColumns } from "./format.ts";
import { PROJECT, paths } from "./paths.ts";

/** Something that the lab needs of the machine. */
export interface Need {
  readonly what: string;
  /** What does not work without it. */
  readonly without: string;
  /** What to do about it. */
  readonly fix: string;
  present(): boolean;
}

const OLDEST_KERNEL = [6, 6] as const; // TCX links
const LEAST_FREE_BYTES = 200 * 1024 * 1024;

const NEEDS: readonly Need[] = [
  {
    what: "kernel 6.6 or newer",
    without: "the datapath does not load",
    fix: `this is ${release()}: boot a newer kernel`,
    present: hasKernel,
  },
  {
    what: "cgroup v2",
    without: "no pods, no services by socket load balancing",
    fix: "mount -t cgroup2 none /sys/fs/cgroup",
    present: () => findCgroup2() !== undefined,
  },
  {
    what: "overlayfs",
    without: "nodes and pods have no files of their own",
    fix: "modprobe overlay",
    present: () => hasFileSystem("overlay"),
  },
  {
    what: "BPF file system",
    without: "policy ends with the agent: nothing can be pinned",
    fix: "a kernel with CONFIG_BPF_SYSCALL",
    present: () => hasFileSystem("bpf"),
  },
  {
    what: "kernel BTF",
    without: "the datapath does not load",
    fix: "a kernel with CONFIG_DEBUG_INFO_BTF",
    present: () => existsSync("/sys/kernel/btf/vmlinux"),
  },
  {
    what: "network namespaces",
    without: "no nodes, no pods",
    fix: "a kernel with CONFIG_NET_NS",
    present: () => existsSync("/proc/self/ns/net"),
  },
  {
    get what() {
      return `capabilities ${missingCapabilities().join(", ")}`;
    },
    without: "no eBPF program loads, no namespace is made",
    fix: "not in a restricted container: on the machine itself, or privileged",
    present: () => missingCapabilities().length === 0,
  },
  { what: "writable /run", without: "no sockets between the parts", fix: "mount -t tmpfs none /run", present: () => isWritable("/run") },
  { what: "ip", without: "nodes cannot be connected", fix: "apt-get install iproute2", present: () => hasProgram("ip") },
  { what: "build/cilia-sandbox", without: "no container starts", fix: "npm run setup", present: () => isExecutable(paths.sandbox) },
  {
    what: "build/kernel.node",
    without: "no system call of the agent works",
    fix: "npm run setup",
    present: () => existsSync(`${PROJECT}/build/kernel.node`),
  },
  {
    what: "build/cilium-cni",
    without: "no pod is connected",
    fix: "npm run setup",
    present: () => isExecutable(`${PROJECT}/build/cilium-cni`),
  },
  { what: "200 MB free in /var/lib", without: "no logs, no state", fix: "free some space", present: () => hasSpace("/var/lib") },
];

/** Checks that this machine can run a lab. Throws `LabError` with one line when we are not root, or a table of what is missing. */
export function checkMachine(): void {
  if (process.getuid?.() !== 0) throw needsRoot();
  const missing = NEEDS.filter((need) => !need.present());
  // eBPF is only asked when there is something to ask with.
  const all = missing.length > 0 ? missing : missingFeatures(probeFeatures());
  if (all.length > 0) throw new LabError("preflight", formatMissing(all));
}

/** What the datapath needs of the kernel's eBPF and does not find. */
export function missingFeatures(features: readonly Feature[]): Need[] {
  const absent = features.filter(({ available }) => !available);
  return absent.map(({ name }) => ({
    what: `eBPF ${name}`,
    without: name === "link tcx" ? "no policy can be enforced: programs cannot be attached" : "the datapath does not load",
    fix: name === "link tcx" ? "a kernel with CONFIG_NET_XGRESS" : `this is ${release()}: boot a newer kernel`,
    present: () => false,
  }));
}

/** The table of what is missing. */
export function formatMissing(missing: readonly Need[]): string {
  const table = formatColumns(
    ["MISSING", "WITHOUT IT", "DO"],
    missing.map(({ what, without, fix }) => [what, without, fix]),
  );
  return `this machine lacks what the lab needs:\n${table.replaceAll(/^/gm, "  ")}`;
}

function hasKernel(): boolean {
  const [major = 0, minor = 0] = release()
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  return major > OLDEST_KERNEL[0] || (major === OLDEST_KERNEL[0] && minor >= OLDEST_KERNEL[1]);
}

function hasFileSystem(name: string): boolean {
  const known = () =>
    readFileSync("/proc/filesystems", "utf8")
      .split("\n")
      .some((line) => line.endsWith(`\t${name}`));
  if (!known()) spawnSync("modprobe", [name]);
  return known();
}

function hasProgram(name: string): boolean {
  return (process.env.PATH ?? "")
    .split(":")
    .concat("/sbin", "/usr/sbin")
    .some((directory) => isExecutable(`${directory}/${name}`));
}

/** What of capabilities(7) the lab, its nodes and its pods use, by their bits. */
const CAPABILITIES: readonly (readonly [bit: bigint, name: string])[] = [
  [1n, "DAC_OVERRIDE"],
  [10n, "NET_BIND_SERVICE"],
  [12n, "NET_ADMIN"],
  [13n, "NET_RAW"],
  [18n, "SYS_CHROOT"],
  [21n, "SYS_ADMIN"],
  [38n, "PERFMON"],
  [39n, "BPF"],
];

/** The capabilities that root lacks here, by name; `status` is a process's `/proc/PID/status`. */
export function missingCapabilities(status = readFileSync("/proc/self/status", "utf8")): string[] {
  const [, effective = "0"] = /^CapEff:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return CAPABILITIES.filter(([bit]) => !((BigInt(`0x${effective}`) >> bit) & 1n)).map(([, name]) => name);
}

const isExecutable = (path: string): boolean => mayUse(path, constants.X_OK);
const isWritable = (path: string): boolean => mayUse(path, constants.W_OK);

function mayUse(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

function hasSpace(path: string): boolean {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize >= LEAST_FREE_BYTES;
}
