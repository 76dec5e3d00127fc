import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

export interface CniInstallation {
  /** `/etc/cni/net.d` */
  readonly configDirectory: string;
  /** `/opt/cni/bin`; the plugin is not copied when `plugin` is empty. */
  readonly binDirectory: string;
  readonly plugin: string;
  /** Sets other plugins' configurations aside, so that the kubelet cannot choose one of them. */
  readonly exclusive: boolean;
  readonly socketPath: string;
  readonly logFile: string;
}

export const CONFLIST_NAME = "05-cilium.conflist";

/** The text of the conflist. The socket is named only where it is not the plugin's default. */
export function formatConflist({ socketPath, logFile }: Pick<CniInstallation, "socketPath" | "logFile">): string {
  const socket = socketPath === "/var/run/cilium/cni.sock" ? {} : { "agent-socket": socketPath };
  const plugin = { type: "cilium-cni", "enable-debug": false, "log-file": logFile, ...socket };
  return `${JSON.stringify({ cniVersion: "0.3.1", name: "cilium", plugins: [plugin] }, null, 2)}\n`;
}

/** Copies the plugin binary to where runtimes look for it; a running one is replaced by rename. */
export function installPlugin({ binDirectory, plugin }: CniInstallation): void {
  if (plugin === "" || !existsSync(plugin)) return;
  const target = join(binDirectory, "cilium-cni");
  if (existsSync(target) && isSameFile(plugin, target)) return;
  mkdirSync(binDirectory, { recursive: true });
  const next = join(binDirectory, ".cilium-cni.new");
  copyFileSync(plugin, next);
  chmodSync(next, 0o755);
  renameSync(next, target);
}

function isSameFile(a: string, b: string): boolean {
  return statSync(a).size === statSync(b).size && readFileSync(a).equals(readFileSync(b));
}

/**
 * Writes the conflist: the runtime takes it as "pods may be added now", so this comes last at start. Repairs as well: call it
 * again whenever. Returns what it changed.
 */
export function writeConflist(installation: CniInstallation): string[] {
  const { configDirectory, exclusive } = installation;
  const changed: string[] = [];
  mkdirSync(configDirectory, { recursive: true });
  const path = join(configDirectory, CONFLIST_NAME);
  const text = formatConflist(installation);
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    const next = join(configDirectory, `.${CONFLIST_NAME}.new`);
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, path);
    changed.push(CONFLIST_NAME);
  }
  if (!exclusive) return changed;
  for (const name of readdirSync(configDirectory)) {
    if (name === CONFLIST_NAME || name.startsWith(".") || !/\.(conf|conflist|json)$/.test(name)) continue;
    renameSync(join(configDirectory, name), join(configDirectory, `${name}.cilium_bak`));
    changed.push(name);
  }
  return changed;
}

/** Takes the conflist away: no pods can be added from now on. */
export function removeConflist({ configDirectory }: Pick<CniInstallation, "configDirectory">): void {
  rmSync(join(configDirectory, CONFLIST_NAME), { force: true });
}
