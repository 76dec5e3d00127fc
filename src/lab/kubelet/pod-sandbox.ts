import { randomUUID } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type NodeHost, rootSteps } from "../node-host.ts";
import type { Pod } from "../objects.ts";
import { paths } from "../paths.ts";
import { removeCgroup } from "../process/cgroup.ts";
import { captureIn, makeSandbox, type Sandbox, type Step } from "../process/sandbox.ts";
import { type Attachment, addNetwork, deleteNetwork, type NetworkList, type NetworkResult, readNetworkList } from "./cni.ts";

/** A directory or file of the machine at a path of the pod, without symbolic links in it. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** The namespaces of one pod, connected to the network. */
export interface PodSandbox {
  readonly sandbox: Sandbox;
  readonly cgroup: string;
  readonly ips: readonly string[];
  readonly attachment?: Attachment;
}

/** Where files of a pod are kept while it lives. */
export function podDirectory(pod: Pod): string {
  return join(paths.pods, pod.metadata.uid);
}

/** Makes the pod's namespaces, with its volumes mounted, and connects it. Undoes everything on failure. */
export async function makePodSandbox(
  host: NodeHost,
  pod: Pod,
  mounts: readonly Mount[],
  list: NetworkList | undefined,
): Promise<PodSandbox> {
  const cgroup = join(host.cgroup, pod.metadata.uid);
  const hostNetwork = pod.spec.hostNetwork === true;
  const netns = `/var/run/netns/cni-${randomUUID()}`;
  const steps = hostNetwork ? hostSteps(host, cgroup, mounts) : ownSteps(host, pod, cgroup, netns, mounts);
  const sandbox = await makeSandbox(steps);
  if (hostNetwork || !list) {
    const ips = [host.config.ipv4, ...(host.config.ipv6 ? [host.config.ipv6] : [])];
    return { sandbox, cgroup, ips };
  }
  const attachment = { containerId: randomUUID().replaceAll("-", "").padEnd(64, "0"), netns, pod };
  try {
    const result = await addNetwork(host, list, attachment);
    return { sandbox, cgroup, ips: addressesOf(result), attachment };
  } catch (thrown) {
    await removePodSandbox(host, { sandbox, cgroup, ips: [], attachment });
    throw thrown;
  }
}

function addressesOf(result: NetworkResult): string[] {
  return (result.ips ?? []).map(({ address }) => address.split("/")[0] ?? "");
}

/** Disconnects the pod, ends what still runs in it, and removes its namespaces and files. */
export async function removePodSandbox(host: NodeHost, { sandbox, cgroup, attachment }: PodSandbox): Promise<void> {
  const list = attachment && readNetworkList(host);
  // A pod whose plugin is gone must still be able to end; the agent collects what DEL did not reach.
  if (list) await deleteNetwork(host, list, attachment).catch(() => undefined);
  if (attachment) {
    const forget = `umount -l ${attachment.netns} && rm -f ${attachment.netns}`;
    await captureIn({ sandbox: host.sandbox, cgroup: join(host.cgroup, "node") }, ["sh", "-c", forget]);
  }
  stop(sandbox);
  await removeCgroup(cgroup);
}

/** Removes the files of a pod. */
export async function removePodFiles(pod: Pod): Promise<void> {
  await rm(podDirectory(pod), { recursive: true, force: true });
}

function stop(sandbox: Sandbox): void {
  try {
    process.kill(sandbox.pid, "SIGKILL");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ESRCH") throw thrown;
  }
}

// In the node's own namespaces; only the volumes are the pod's.
function hostSteps(host: NodeHost, cgroup: string, mounts: readonly Mount[]): Step[] {
  return [
    ["cgroup", join(cgroup, "sandbox")],
    ["net", host.netns],
    ["join", String(host.sandbox.pid)],
    ["unshare", "slave"],
    ["hostname", host.config.name],
    ...mountSteps(mounts, ""),
  ];
}

function ownSteps(host: NodeHost, pod: Pod, cgroup: string, netns: string, mounts: readonly Mount[]): Step[] {
  const directory = podDirectory(pod);
  const root = join(directory, "root");
  const hostname = pod.spec.hostname ?? pod.metadata.name;
  const shared = pod.spec.hostPID === true;
  const proc = join(root, "proc");
  return [
    ["cgroup", join(cgroup, "sandbox")],
    ["join", String(host.sandbox.pid)],
    ...(shared ? [] : [["pids"] satisfies Step]),
    ["newnet", netns],
    // Without IPv6 in the cluster a pod must not solicit routers: every such packet would be a drop.
    ["write", "/proc/sys/net/ipv6/conf/default/disable_ipv6", host.config.ipv6 ? "0" : "1"],
    // After a time of denied packets a connection goes on at once, not after TCP's minutes.
    ["write", "/proc/sys/net/ipv4/tcp_rto_max_ms", "1000"],
    ["unshare", "private"],
    ["hostname", hostname],
    ...rootSteps(directory, host.images.layers, shared ? ["rbind", "/proc", proc] : ["mount", "proc", "proc", proc]),
    ["mount", "tmpfs", "tmpfs", join(root, "run"), "mode=755"],
    ...mountSteps(mounts, root),
    ["root", root],
  ];
}

function mountSteps(mounts: readonly Mount[], root: string): Step[] {
  return mounts.flatMap(({ source, target, readOnly }): Step[] => {
    const at = `${root}${target}`;
    return readOnly
      ? [
          ["bind", source, at],
          ["readonly", at],
        ]
      : [["bind", source, at]];
  });
}

/** Writes /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod and returns where they go. `ips` may still be unknown. */
export function writeEtcFiles(pod: Pod, resolvConf: string): Mount[] {
  const directory = join(podDirectory(pod), "etc");
  mkdirSync(directory, { recursive: true });
  const hostname = pod.spec.hostname ?? pod.metadata.name;
  const files: Readonly<Record<string, string>> = {
    hosts: hostsFile(pod, undefined),
    hostname: `${hostname}\n`,
    "resolv.conf": resolvConf,
  };
  return Object.entries(files).map(([name, text]) => {
    const source = join(directory, name);
    writeFileSync(source, text);
    return { source, target: `/etc/${name}`, readOnly: false };
  });
}

/** Puts the pod's own address into its /etc/hosts, once the network has given it one. */
export function updateHostsFile(pod: Pod, ip: string): void {
  writeFileSync(join(podDirectory(pod), "etc/hosts"), hostsFile(pod, ip));
}

function hostsFile(pod: Pod, ip: string | undefined): string {
  const { hostname = pod.metadata.name, subdomain, hostAliases = [] } = pod.spec;
  const full = subdomain ? `${hostname}.${subdomain}.${pod.metadata.namespace}.svc.cluster.local\t` : "";
  const own = ip ? [`${ip}\t${full}${hostname}`] : [];
  const aliases = hostAliases.map((alias) => `${alias.ip}\t${(alias.hostnames ?? []).join(" ")}`);
  return `${["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", ...own, ...aliases].join("\n")}\n`;
}
