import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { KeyToPath, Volume, VolumeProjection } from "kubernetes-types/core/v1.js";
import type { Cluster } from "../cluster.ts";
import type { NodeHost } from "../node-host.ts";
import type { ConfigMap, Pod, Secret } from "../objects.ts";
import { fieldOf } from "./downward.ts";
import { type Mount, podDirectory } from "./pod-sandbox.ts";

/** Makes service account tokens and knows the cluster's certificate. */
export interface Identities {
  readonly ca: string;
  serviceAccountToken(namespace: string, name: string): string;
}

export interface VolumeDeps {
  readonly cluster: Cluster;
  readonly identities: Identities;
  readonly host: NodeHost;
}

/** A volume that cannot be made now; the kubelet reports it and tries again. */
export class VolumeError extends Error {}

type Files = ReadonlyMap<string, { readonly data: Buffer | string; readonly mode: number }>;

const DEFAULT_MODE = 0o644;

/** Makes the volumes of a pod and says where they are mounted. Idempotent: existing contents are brought up to date. Throws `VolumeError`. */
export function makeVolumes(deps: VolumeDeps, pod: Pod): Mount[] {
  const sources = new Map((pod.spec.volumes ?? []).map((volume) => [volume.name, makeVolume(deps, pod, volume)]));
  const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  const mounts = new Map<string, Mount>();
  for (const mount of containers.flatMap((container) => container.volumeMounts ?? [])) {
    const source = sources.get(mount.name);
    if (source === undefined) throw new VolumeError(`volume mount "${mount.name}" names no volume of the pod`);
    const from = mount.subPath ? join(source, mount.subPath) : source;
    if (!existsSync(from)) mkdirSync(from, { recursive: true });
    // The containers of a pod share one file system here; the first mount at a path wins.
    const target = withoutLinks(mount.mountPath);
    if (!mounts.has(target)) mounts.set(target, { source: inNode(deps.host, from), target, readOnly: mount.readOnly === true });
  }
  // Parents first: a mount over a directory would hide what is mounted below it.
  const all = pod.spec.hostNetwork ? [...mounts.values()].filter(({ source, target }) => source !== target) : [...mounts.values()];
  return all.toSorted((a, b) => a.target.length - b.target.length);
}

// A link such as /var/run → /run would lead out of the root of the node or of the pod. The lower layer of both is the machine's root.
function withoutLinks(path: string): string {
  for (let existing = path; existing !== "/"; existing = dirname(existing)) {
    if (existsSync(existing)) return realpathSync(existing) + path.slice(existing.length);
  }
  return path;
}

// Host paths are made through /proc/PID/root; the mounts are made inside the node.
function inNode(host: NodeHost, path: string): string {
  return path.startsWith(`${host.root}/`) ? path.slice(host.root.length) : path;
}

function makeVolume(deps: VolumeDeps, pod: Pod, volume: Volume): string {
  if (volume.hostPath) return hostPath(deps.host, volume.hostPath.path, volume.hostPath.type);
  const directory = join(podDirectory(pod), "volumes", volume.name);
  mkdirSync(directory, { recursive: true });
  const files = contentsOf(deps, pod, volume);
  if (files) writeFiles(directory, files);
  return directory;
}

function hostPath(host: NodeHost, path: string, type = ""): string {
  const at = join(host.root, withoutLinks(path));
  if (existsSync(at)) return at;
  if (type === "File" || type === "Directory" || type === "Socket") throw new VolumeError(`hostPath ${path} is not there (type ${type})`);
  if (type === "FileOrCreate") {
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, "");
  } else mkdirSync(at, { recursive: true });
  return at;
}

// Undefined for volumes that start empty.
function contentsOf(deps: VolumeDeps, pod: Pod, volume: Volume): Files | undefined {
  const { configMap, secret, projected, downwardAPI } = volume;
  if (configMap) return configMapFiles(deps.cluster, pod, configMap.name ?? "", configMap);
  if (secret) return secretFiles(deps.cluster, pod, secret.secretName ?? "", secret);
  if (downwardAPI) return downwardFiles(pod, downwardAPI.items);
  if (projected)
    return new Map((projected.sources ?? []).flatMap((source) => [...projectedFiles(deps, pod, source, projected.defaultMode)]));
  return undefined;
}

interface Selection {
  readonly items?: readonly KeyToPath[];
  readonly optional?: boolean;
  readonly defaultMode?: number;
}

function configMapFiles(cluster: Cluster, pod: Pod, name: string, selection: Selection): Files {
  const map = cluster.get<ConfigMap>("configmaps", name, pod.metadata.namespace);
  if (!map && !selection.optional) throw new VolumeError(`configmap "${name}" not found`);
  const data = new Map<string, string | Buffer>(Object.entries(map?.data ?? {}));
  for (const [key, value] of Object.entries(map?.binaryData ?? {})) data.set(key, Buffer.from(value, "base64"));
  return select(data, selection);
}

function secretFiles(cluster: Cluster, pod: Pod, name: string, selection: Selection): Files {
  const secret = cluster.get<Secret>("secrets", name, pod.metadata.namespace);
  if (!secret && !selection.optional) throw new VolumeError(`secret "${name}" not found`);
  const data = Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")] as const);
  return select(new Map(data), selection);
}

function select(data: ReadonlyMap<string, string | Buffer>, { items, defaultMode = DEFAULT_MODE }: Selection): Files {
  const chosen = items ?? [...data.keys()].map((key) => ({ key, path: key, mode: undefined }));
  return new Map(
    chosen.flatMap(({ key, path, mode }) => {
      const value = data.get(key);
      return value === undefined ? [] : [[path, { data: value, mode: mode ?? defaultMode }] as const];
    }),
  );
}

function downwardFiles(pod: Pod, items: readonly { path: string; fieldRef?: { fieldPath: string }; mode?: number }[] = []): Files {
  return new Map(
    items.map(({ path, fieldRef, mode }) => [path, { data: fieldRef ? fieldOf(pod, fieldRef.fieldPath) : "", mode: mode ?? DEFAULT_MODE }]),
  );
}

function projectedFiles(deps: VolumeDeps, pod: Pod, source: VolumeProjection, defaultMode = DEFAULT_MODE): Files {
  const { serviceAccountToken, configMap, secret, downwardAPI } = source;
  if (serviceAccountToken) {
    const token = deps.identities.serviceAccountToken(pod.metadata.namespace, pod.spec.serviceAccountName ?? "default");
    return new Map([[serviceAccountToken.path, { data: token, mode: 0o600 }]]);
  }
  if (configMap) return configMapFiles(deps.cluster, pod, configMap.name ?? "", { ...configMap, defaultMode });
  if (secret) return secretFiles(deps.cluster, pod, secret.name ?? "", { ...secret, defaultMode });
  return downwardFiles(pod, downwardAPI?.items);
}

function writeFiles(directory: string, files: Files): void {
  for (const [path, { data, mode }] of files) {
    const at = join(directory, path);
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, data);
    chmodSync(at, mode);
  }
  for (const name of readdirSync(directory)) {
    if (![...files.keys()].some((path) => path.split("/")[0] === name)) rmSync(join(directory, name), { recursive: true, force: true });
  }
}
