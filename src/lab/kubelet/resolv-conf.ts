import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeHost } from "../node-host.ts";
import type { Pod } from "../objects.ts";

export const CLUSTER_DNS = "10.96.0.10";
export const CLUSTER_DOMAIN = "cluster.local";

/** The resolv.conf that the pod's DNS policy asks for. */
export function resolvConf(host: NodeHost, pod: Pod): string {
  const { dnsPolicy = "ClusterFirst", hostNetwork, dnsConfig } = pod.spec;
  const ofNode = dnsPolicy === "Default" || (dnsPolicy === "ClusterFirst" && hostNetwork === true);
  const base = dnsPolicy === "None" ? { nameservers: [], searches: [], options: [] } : ofNode ? nodeResolver(host) : clusterResolver(pod);
  const nameservers = [...base.nameservers, ...(dnsConfig?.nameservers ?? [])];
  const searches = [...base.searches, ...(dnsConfig?.searches ?? [])];
  const more = (dnsConfig?.options ?? []).map(({ name, value }) => (value === undefined ? (name ?? "") : `${name}:${value}`));
  // The pod's own value of an option stands instead of the policy's, as the kubelet writes it.
  const named = new Map([...base.options, ...more].map((option) => [option.split(":", 1)[0], option]));
  const options = [...named.values()];
  const lines = [
    ...(searches.length ? [`search ${searches.join(" ")}`] : []),
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(options.length ? [`options ${options.join(" ")}`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

interface Resolver {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

function clusterResolver(pod: Pod): Resolver {
  const searches = [`${pod.metadata.namespace}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN];
  return { nameservers: [CLUSTER_DNS], searches, options: ["ndots:5"] };
}

function nodeResolver(host: NodeHost): Resolver {
  const text = readFileSync(join(host.root, "etc/resolv.conf"), "utf8");
  const nameservers = [...text.matchAll(/^nameserver\s+(\S+)/gm)].map(([, address = ""]) => address);
  return { nameservers, searches: [], options: [] };
}
