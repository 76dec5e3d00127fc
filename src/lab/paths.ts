import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of this checkout. */
export const PROJECT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** What outlives a lab: its lock, logs of the last run. */
export const STATE_DIRECTORY = "/var/lib/cilia-lab";
/** What does not: a tmpfs, gone with the lab. */
export const RUNTIME_DIRECTORY = "/run/cilia-lab";
/** Names of network namespaces, cgroups and files of the lab start with this. */
export const PREFIX = "cilia";

export const paths = {
  lock: join(STATE_DIRECTORY, "lock"),
  log: join(STATE_DIRECTORY, "lab.log"),
  api: join(RUNTIME_DIRECTORY, "apiserver"),
  kubeconfig: join(RUNTIME_DIRECTORY, "kubeconfig"),
  /** Unix socket where the daemon answers `status`. */
  control: join(RUNTIME_DIRECTORY, "control.sock"),
  /** Unix socket that leads to the Hubble relay. */
  hubble: join(RUNTIME_DIRECTORY, "hubble.sock"),
  /** The machine's root, without the mounts on it: the lower layer of every overlay. */
  rootfs: join(RUNTIME_DIRECTORY, "rootfs"),
  images: join(RUNTIME_DIRECTORY, "images"),
  nodes: join(RUNTIME_DIRECTORY, "nodes"),
  pods: join(RUNTIME_DIRECTORY, "pods"),
  logs: join(STATE_DIRECTORY, "pods"),
  sandbox: join(PROJECT, "build/cilia-sandbox"),
  bin: join(PROJECT, "bin"),
  tools: join(PROJECT, "build/bin"),
  node: join(PROJECT, "node_modules/.bin/node"),
} as const;

/** The program of this name: the one of `build/bin` when set-up unpacked it, else the one on PATH. */
export function tool(name: "kubectl" | "helm"): string {
  const unpacked = join(paths.tools, name);
  return existsSync(unpacked) ? unpacked : name;
}
