import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { findCgroup2 } from "#sys/mount.ts";
import { LabError } from "./errors.ts";
import { PROJECT, paths } from "./paths.ts";

interface Need {
  readonly what: string;
  readonly why: string;
  readonly fix: string;
  present(): boolean;
}

const OLDEST_KERNEL = [6, 6] as const; // TCX links
const LEAST_FREE_BYTES = 200 * 1024 * 1024;

const NEEDS: readonly Need[] = [
  { what: "kernel 6.6 or newer", why: "TCX programs", fix: `this is ${release()}: boot a newer kernel`, present: hasKernel },
  {
    what: "cgroup v2",
    why: "pods and their socket programs",
    fix: "mount -t cgroup2 none /sys/fs/cgroup",
    present: () => findCgroup2() !== undefined,
  },
  { what: "overlayfs", why: "root file systems of nodes and pods", fix: "modprobe overlay", present: () => hasFileSystem("overlay") },
  { what: "BPF file system", why: "pinned maps", fix: "a kernel with CONFIG_BPF_SYSCALL", present: () => hasFileSystem("bpf") },
  {
    what: "kernel BTF",
    why: "the datapath's types",
    fix: "a kernel with CONFIG_DEBUG_INFO_BTF",
    present: () => existsSync("/sys/kernel/btf/vmlinux"),
  },
  { what: "network namespaces", why: "nodes and pods", fix: "a kernel with CONFIG_NET_NS", present: () => existsSync("/proc/self/ns/net") },
  { what: "ip", why: "the links between the nodes", fix: "apt-get install iproute2", present: () => hasProgram("ip") },
  { what: "build/cilia-sandbox", why: "starting containers", fix: "npm run setup", present: () => isExecutable(paths.sandbox) },
  { what: "build/kernel.node", why: "system calls", fix: "npm run setup", present: () => existsSync(`${PROJECT}/build/kernel.node`) },
  { what: "build/cilium-cni", why: "connecting pods", fix: "npm run setup", present: () => isExecutable(`${PROJECT}/build/cilium-cni`) },
  { what: "200 MB free in /var/lib", why: "logs and state", fix: "free some space", present: () => hasSpace("/var/lib") },
];

/** Checks that this machine can run a lab. Throws `LabError` with one line when we are not root, or a table of what is missing. */
export function checkMachine(): void {
  if (process.getuid?.() !== 0)
    throw new LabError("no-root", "the lab needs root: it makes network namespaces and loads eBPF programs. Run it with sudo");
  const missing = NEEDS.filter((need) => !need.present());
  if (missing.length === 0) return;
  const rows = missing.map(({ what, why, fix }) => `  ${what.padEnd(24)}  ${why.padEnd(36)}  ${fix}`);
  throw new LabError(
    "preflight",
    `this machine lacks what the lab needs:\n  ${"missing".padEnd(24)}  ${"for".padEnd(36)}  do\n${rows.join("\n")}`,
  );
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

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasSpace(path: string): boolean {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize >= LEAST_FREE_BYTES;
}
