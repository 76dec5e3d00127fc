import { isMap, isScalar, LineCounter, parseDocument, type YAMLMap, type Node as YamlNode } from "yaml";
import { LabConfigError } from "./errors.ts";
import { type Fail, type KindNode, type KnownFields, readNodes } from "./kind-nodes.ts";

interface KindConfig {
  readonly nodes: readonly KindNode[];
  readonly ipv6: boolean;
  readonly apiPort?: number;
  /** Where the API server listens on the machine. */
  readonly apiAddress?: string;
  /** What of the file has no effect here, with its line. */
  readonly notes: readonly string[];
}

const NETWORKING = [
  "disableDefaultCNI",
  "kubeProxyMode",
  "ipFamily",
  "apiServerPort",
  "apiServerAddress",
  "podSubnet",
  "serviceSubnet",
  "dnsSearch",
];
const TOP = [
  "kind",
  "apiVersion",
  "name",
  "nodes",
  "networking",
  "featureGates",
  "runtimeConfig",
  "containerdConfigPatches",
  "containerdConfigPatchesJSON6902",
  "kubeadmConfigPatches",
  "kubeadmConfigPatchesJSON6902",
];
/** Fields that are about kind's containers and kubeadm, of which the lab has none. */
const WITHOUT_EFFECT = /^(name|featureGates|runtimeConfig|dnsSearch|image|(containerd|kubeadm)ConfigPatches(JSON6902)?)$/;

/** Reads kind's `v1alpha4` file. Throws `LabConfigError` naming file, line, field and what is allowed. */
export function parseKindConfig(text: string, file: string): KindConfig {
  const lines = new LineCounter();
  const lineOf = (node: YamlNode | null | undefined) => (node?.range ? lines.linePos(node.range[0]).line : 1);
  const document = parseDocument(text, { lineCounter: lines });
  const fail = (node: YamlNode | null | undefined, message: string): never => {
    throw new LabConfigError(`${file}:${lineOf(node)}: ${message}`);
  };
  const broken = document.errors[0];
  if (broken) throw new LabConfigError(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message.split("\n")[0]}`);
  const top = document.contents;
  if (!isMap(top)) return fail(top, "a kind cluster configuration is a mapping (kind: Cluster, nodes: [...])");
  const notes: string[] = [];
  const known: KnownFields = (map, names, where) => {
    for (const { key } of map.items) {
      const name = isScalar(key) ? String(key.value) : "";
      if (!names.includes(name)) fail(key as YamlNode, `${where}${name}: unknown field; known are ${names.join(", ")}`);
      if (WITHOUT_EFFECT.test(name)) notes.push(`${file}:${lineOf(key as YamlNode)}: ${where}${name} has no effect in the lab`);
    }
  };
  known(top, TOP, "");
  const at = (field: string): unknown => top.get(field);
  if (at("kind") !== "Cluster") fail(top, `kind: found ${JSON.stringify(at("kind"))}, "Cluster" is needed`);
  const version = at("apiVersion");
  if (version !== "kind.x-k8s.io/v1alpha4") fail(top, `apiVersion: found ${JSON.stringify(version)}, "kind.x-k8s.io/v1alpha4" is needed`);
  return { nodes: readNodes(top, known, fail), ...readNetworking(top, known, fail), notes };
}

const SUBNETS = [
  ["podSubnet", ["10.244.0.0/16", "10.244.0.0/16,fd00:10:244::/56"]],
  ["serviceSubnet", ["10.96.0.0/16", "10.96.0.0/16,fd00:10:96::/112"]],
] as const;

function checkSubnets(networking: YAMLMap, fail: Fail): void {
  for (const [field, own] of SUBNETS) {
    const wanted = networking.get(field, true) as YamlNode | undefined;
    const found = isScalar(wanted) ? String(wanted.value) : undefined;
    if (found !== undefined && !own.some((one) => one === found))
      fail(wanted, `networking.${field}: found "${found}"; the lab's own is ${own[0]}: leave the field out`);
  }
}

function readNetworking(top: YAMLMap, known: KnownFields, fail: Fail): Pick<KindConfig, "ipv6" | "apiPort" | "apiAddress"> {
  const networking = top.get("networking", true) as YamlNode | undefined;
  if (networking === undefined) return { ipv6: false };
  if (!isMap(networking)) return fail(networking, "networking: a mapping is needed");
  known(networking, NETWORKING, "networking.");
  const mode = networking.get("kubeProxyMode");
  if (mode !== undefined && mode !== "none")
    fail(networking, `networking.kubeProxyMode: found ${JSON.stringify(mode)}; the lab has no kube-proxy, "none" is needed`);
  if (networking.get("disableDefaultCNI") === false)
    fail(networking, "networking.disableDefaultCNI: the lab has no CNI of its own, true is needed");
  const family = networking.get("ipFamily") ?? "ipv4";
  if (family !== "ipv4" && family !== "dual")
    fail(networking, `networking.ipFamily: found ${JSON.stringify(family)}, "ipv4" or "dual" is needed`);
  checkSubnets(networking, fail);
  const address = networking.get("apiServerAddress") as string | undefined;
  if (address !== undefined && address !== "127.0.0.1" && address !== "0.0.0.0")
    fail(networking, `networking.apiServerAddress: found ${JSON.stringify(address)}, "127.0.0.1" or "0.0.0.0" is needed`);
  const port = networking.get("apiServerPort");
  return {
    ipv6: family === "dual",
    ...(typeof port === "number" && port > 0 ? { apiPort: port } : {}),
    ...(address === undefined ? {} : { apiAddress: address }),
  };
}
