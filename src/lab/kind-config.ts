import { isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap, type Node as YamlNode } from "yaml";
import { LabConfigError } from "./errors.ts";

interface KindNode {
  readonly role: "control-plane" | "worker";
  readonly labels: Readonly<Record<string, string>>;
}

interface KindConfig {
  readonly nodes: readonly KindNode[];
  readonly ipv6: boolean;
  readonly apiPort?: number;
}

// What kind knows and the lab can only take as it is: no effect here, no error either.
const ACCEPTED_NETWORKING = [
  "disableDefaultCNI",
  "kubeProxyMode",
  "ipFamily",
  "apiServerPort",
  "apiServerAddress",
  "podSubnet",
  "serviceSubnet",
];
const ACCEPTED_TOP = [
  "kind",
  "apiVersion",
  "name",
  "nodes",
  "networking",
  "featureGates",
  "runtimeConfig",
  "containerdConfigPatches",
  "kubeadmConfigPatches",
];
const ACCEPTED_NODE = ["role", "labels", "image", "extraMounts", "extraPortMappings", "kubeadmConfigPatches"];

/** Reads kind's `v1alpha4` file. Throws `LabConfigError` naming file, line, field and what is allowed. */
export function parseKindConfig(text: string, file: string): KindConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const fail = (node: YamlNode | null | undefined, message: string): never => {
    const line = node?.range ? lines.linePos(node.range[0]).line : 1;
    throw new LabConfigError(`${file}:${line}: ${message}`);
  };
  const broken = document.errors[0];
  if (broken) throw new LabConfigError(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message.split("\n")[0]}`);
  const top = document.contents;
  if (!isMap(top)) return fail(top, "a kind cluster configuration is a mapping (kind: Cluster, nodes: [...])");
  knownFields(top, ACCEPTED_TOP, "", fail);
  const at = (field: string): unknown => top.get(field);
  if (at("kind") !== "Cluster") fail(top, `kind: found ${JSON.stringify(at("kind"))}, "Cluster" is needed`);
  const version = at("apiVersion");
  if (version !== "kind.x-k8s.io/v1alpha4") fail(top, `apiVersion: found ${JSON.stringify(version)}, "kind.x-k8s.io/v1alpha4" is needed`);
  return { nodes: readNodes(top, fail), ...readNetworking(top, fail) };
}

type Fail = (node: YamlNode | null | undefined, message: string) => never;

function knownFields(map: YAMLMap, known: readonly string[], where: string, fail: Fail): void {
  for (const { key } of map.items) {
    const name = isScalar(key) ? String(key.value) : "";
    if (!known.includes(name)) fail(key as YamlNode, `${where}${name}: unknown field; known are ${known.join(", ")}`);
  }
}

function readNodes(top: YAMLMap, fail: Fail): KindNode[] {
  const list = top.get("nodes", true) as YamlNode | undefined;
  if (list === undefined) return [{ role: "control-plane", labels: {} }];
  if (!isSeq(list)) return fail(list, "nodes: a list is needed");
  const nodes = list.items.map((item, index) => {
    if (!isMap(item)) return fail(item as YamlNode, `nodes[${index}]: a mapping with a role is needed`);
    knownFields(item, ACCEPTED_NODE, `nodes[${index}].`, fail);
    const role = item.get("role");
    if (role !== "control-plane" && role !== "worker") {
      return fail(item, `nodes[${index}].role: found ${JSON.stringify(role ?? null)}, "control-plane" or "worker" is needed`);
    }
    const labels = item.get("labels");
    return { role, labels: isMap(labels) ? (labels.toJSON() as Record<string, string>) : {} } as const;
  });
  const planes = nodes.filter((node) => node.role === "control-plane").length;
  if (planes !== 1) fail(list, `nodes: found ${planes} control-plane nodes, the lab runs exactly one`);
  // The API server's address is that of the first node.
  return nodes.toSorted((a, b) => Number(a.role === "worker") - Number(b.role === "worker"));
}

function readNetworking(top: YAMLMap, fail: Fail): { ipv6: boolean; apiPort?: number } {
  const networking = top.get("networking", true) as YamlNode | undefined;
  if (networking === undefined) return { ipv6: false };
  if (!isMap(networking)) return fail(networking, "networking: a mapping is needed");
  knownFields(networking, ACCEPTED_NETWORKING, "networking.", fail);
  const mode = networking.get("kubeProxyMode");
  if (mode !== undefined && mode !== "none")
    fail(networking, `networking.kubeProxyMode: found ${JSON.stringify(mode)}; the lab has no kube-proxy, "none" is needed`);
  if (networking.get("disableDefaultCNI") === false)
    fail(networking, "networking.disableDefaultCNI: the lab has no CNI of its own, true is needed");
  const family = networking.get("ipFamily") ?? "ipv4";
  if (family !== "ipv4" && family !== "dual")
    fail(networking, `networking.ipFamily: found ${JSON.stringify(family)}, "ipv4" or "dual" is needed`);
  const port = networking.get("apiServerPort");
  return { ipv6: family === "dual", ...(typeof port === "number" && port > 0 ? { apiPort: port } : {}) };
}
