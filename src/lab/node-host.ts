import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeConfig } from "./config.ts";
import type { ImageKind } from "./images/images.ts";
import type { NodeMount } from "./kind-nodes.ts";
import { WORLD } from "./network/addresses.ts";
import { netnsPath } from "./network/fabric.ts";
import { PROJECT, paths, RUNTIME_DIRECTORY } from "./paths.ts";
import { makeSandbox, type Sandbox, type Step } from "./process/sandbox.ts";

/** One machine of the cluster: namespaces, files and a cgroup of its own. */
export interface NodeHost {
  readonly config: NodeConfig;
  readonly sandbox: Sandbox;
  /** Directory of cgroup v2 that everything on the node is below. */
  readonly cgroup: string;
  /** The node's network namespace, as a file of the machine. */
  readonly netns: string;
  /** The node's files as seen from the machine. */
  readonly root: string;
  readonly images: Images;
}

/** What the images of this lab are. */
export interface Images {
  readonly kind: ImageKind;
  /** File systems that lie over the machine's root, the topmost first. */
  readonly layers: readonly string[];
}

/** Makes the namespaces of a node. `cgroup` is the lab's own directory of cgroup v2. */
export async function makeNodeHost(config: NodeConfig, nodes: readonly NodeConfig[], cgroup: string, images: Images): Promise<NodeHost> {
  const own = join(cgroup, config.name);
  const netns = netnsPath(config.name);
  const directory = join(paths.nodes, config.name);
  const files = writeFiles(directory, nodes);
  const root = join(directory, "root");
  const steps: Step[] = [
    ["cgroup", join(own, "node")],
    ["newnet", netns],
    ["unshare", "private"],
    ["hostname", config.name],
    ...rootSteps(directory, images.layers, ["rbind", "/proc", join(root, "proc")]),
    ["mount", "tmpfs", "tmpfs", join(root, "run"), "mode=755"],
    ["mkdir", join(root, "run/netns")],
    // Kernel state of this node alone: pinned maps, and the cgroups that socket programs are attached to.
    ["mount", "bpf", "bpf", join(root, "sys/fs/bpf")],
    ["bind", own, join(root, "run/cilium/cgroupv2")],
    ["mount", "tmpfs", "tmpfs", join(root, "etc/cni/net.d")],
    ["mount", "tmpfs", "tmpfs", join(root, "opt/cni/bin")],
    ["rbind", RUNTIME_DIRECTORY, join(root, RUNTIME_DIRECTORY)],
    ["bind", files.resolv, join(root, "etc/resolv.conf")],
    ["bind", files.hosts, join(root, "etc/hosts")],
    ...config.mounts.flatMap((mount) => mountSteps(mount, root)),
    ["root", root],
    ["share"],
  ];
  const sandbox = await makeSandbox(steps);
  return { config, sandbox, cgroup: own, netns, root: `/proc/${sandbox.pid}/root`, images };
}

/**
 * A root file system of its own below `directory`: the machine's as the lower layer, writes kept aside. The checkout is mounted over it,
 * so that a program restarted after an edit runs what was edited. `proc` mounts /proc: the machine's, or that of a new PID namespace.
 */
export function rootSteps(directory: string, layers: readonly string[], proc: Step): Step[] {
  const [root, upper, work] = ["root", "upper", "work"].map((name) => join(directory, name)) as [string, string, string];
  return [
    ["mkdir", root],
    ["mkdir", upper],
    ["mkdir", work],
    ["mount", "overlay", "overlay", root, `lowerdir=${[...layers, paths.rootfs].join(":")},upperdir=${upper},workdir=${work}`],
    proc,
    ["rbind", "/sys", join(root, "sys")],
    ["rbind", "/dev", join(root, "dev")],
    ["mount", "tmpfs", "tmpfs", join(root, "tmp"), "mode=1777"],
    ["bind", PROJECT, join(root, PROJECT)],
  ];
}

function mountSteps({ hostPath, containerPath, readOnly }: NodeMount, root: string): Step[] {
  const at = join(root, containerPath);
  return [["rbind", hostPath, at], ...(readOnly ? [["readonly", at] satisfies Step] : [])];
}

function writeFiles(directory: string, nodes: readonly NodeConfig[]): { hosts: string; resolv: string } {
  mkdirSync(directory, { recursive: true });
  const [hosts, resolv] = [join(directory, "hosts"), join(directory, "resolv.conf")];
  const lines = nodes.map((node) => `${node.ipv4}\t${node.name}`);
  writeFileSync(hosts, `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n${lines.join("\n")}\n`);
  writeFileSync(resolv, `nameserver ${WORLD.resolver}\n`);
  return { hosts, resolv };
}
