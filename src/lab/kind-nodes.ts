import { existsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { isMap, isSeq, type YAMLMap, type Node as YamlNode } from "yaml";

/** A port of the machine that leads to one of a node, as from outside the cluster. */
export interface PortMapping {
  readonly listenAddress: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** A file or directory of the machine at a path of a node. */
export interface NodeMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
}

export interface KindNode {
  readonly role: "control-plane" | "worker";
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly PortMapping[];
  readonly mounts: readonly NodeMount[];
}

/** Ends reading with an error that names the file and the node's line. */
export type Fail = (node: YamlNode | null | undefined, message: string) => never;
/** Fails for a field that is none of these. */
export type KnownFields = (map: YAMLMap, names: readonly string[], where: string) => void;

const NODE = [
  ...["role", "labels", "image", "extraMounts", "extraPortMappings"],
  ...["kubeadmConfigPatches", "kubeadmConfigPatchesJSON6902"],
];

/** `nodes:` of a kind file, the control plane first: the API server's address is that of the first node. */
export function readNodes(top: YAMLMap, known: KnownFields, fail: Fail): KindNode[] {
  const list = top.get("nodes", true) as YamlNode | undefined;
  if (list === undefined) return [{ role: "control-plane", labels: {}, ports: [], mounts: [] }];
  if (!isSeq(list)) return fail(list, "nodes: a list is needed");
  const nodes = list.items.map((item, index) => readNode(item as YamlNode, `nodes[${index}]`, known, fail));
  const planes = nodes.filter((node) => node.role === "control-plane").length;
  if (planes !== 1) fail(list, `nodes: found ${planes} control-plane nodes, the lab runs exactly one`);
  return nodes.toSorted((a, b) => Number(a.role === "worker") - Number(b.role === "worker"));
}

function readNode(item: YamlNode, where: string, known: KnownFields, fail: Fail): KindNode {
  if (!isMap(item)) return fail(item, `${where}: a mapping with a role is needed`);
  known(item, NODE, `${where}.`);
  const role = item.get("role");
  if (role !== "control-plane" && role !== "worker") {
    return fail(item, `${where}.role: found ${JSON.stringify(role ?? null)}, "control-plane" or "worker" is needed`);
  }
  const labels = item.get("labels");
  return {
    role,
    labels: isMap(labels) ? (labels.toJSON() as Record<string, string>) : {},
    ports: entries(item, "extraPortMappings", where, fail).map(([one, at]) => readPort(one, at, known, fail)),
    mounts: entries(item, "extraMounts", where, fail).map(([one, at]) => readMount(one, at, known, fail)),
  };
}

function entries(node: YAMLMap, field: string, where: string, fail: Fail): [YAMLMap, string][] {
  const list = node.get(field, true) as YamlNode | undefined;
  if (list === undefined) return [];
  if (!isSeq(list)) return fail(list, `${where}.${field}: a list is needed`);
  return list.items.map((item, index) => {
    const at = `${where}.${field}[${index}]`;
    return isMap(item) ? [item, at] : fail(item as YamlNode, `${at}: a mapping is needed`);
  });
}

function readPort(entry: YAMLMap, at: string, known: KnownFields, fail: Fail): PortMapping {
  known(entry, ["containerPort", "hostPort", "listenAddress", "protocol"], `${at}.`);
  const port = (field: string): number => {
    const value = entry.get(field);
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535) return value;
    return fail(entry, `${at}.${field}: found ${JSON.stringify(value ?? null)}, a port from 1 to 65535 is needed`);
  };
  const protocol = entry.get("protocol") ?? "TCP";
  if (protocol !== "TCP") fail(entry, `${at}.protocol: found ${JSON.stringify(protocol)}; the lab forwards TCP only`);
  const listenAddress = String(entry.get("listenAddress") ?? "0.0.0.0");
  return { listenAddress, hostPort: port("hostPort"), containerPort: port("containerPort") };
}

function readMount(entry: YAMLMap, at: string, known: KnownFields, fail: Fail): NodeMount {
  known(entry, ["hostPath", "containerPath", "readOnly", "selinuxRelabel", "propagation"], `${at}.`);
  const path = (field: string): string => {
    const value = entry.get(field);
    return typeof value === "string" && value !== "" ? value : fail(entry, `${at}.${field}: a path is needed`);
  };
  const containerPath = path("containerPath");
  if (!isAbsolute(containerPath)) fail(entry, `${at}.containerPath: found "${containerPath}", an absolute path is needed`);
  const hostPath = resolve(path("hostPath"));
  if (!existsSync(hostPath)) fail(entry, `${at}.hostPath: there is no ${hostPath} on this machine`);
  return { hostPath, containerPath, readOnly: entry.get("readOnly") === true };
}
