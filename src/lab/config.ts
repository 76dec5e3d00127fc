import { readFileSync } from "node:fs";
import { LabConfigError } from "./errors.ts";
import { IMAGE_KINDS, type ImageKind } from "./images/images.ts";
import { parseKindConfig } from "./kind-config.ts";
import type { KindNode, NodeMount, PortMapping } from "./kind-nodes.ts";

export interface NodeConfig {
  readonly name: string;
  readonly role: "control-plane" | "worker";
  /** Keeps ordinary pods away: a control plane that has workers beside it, as in kind. */
  readonly tainted: boolean;
  /** Position in the cluster from 0; addresses follow from it. */
  readonly index: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly PortMapping[];
  readonly mounts: readonly NodeMount[];
  readonly ipv4: string;
  readonly ipv6?: string;
  readonly podCidrs: readonly string[];
}

export interface LabConfig {
  readonly nodes: readonly NodeConfig[];
  readonly ipv6: boolean;
  readonly apiAddress: string;
  readonly apiPort: number;
  readonly serviceCidr: string;
  readonly serviceCidrV6?: string;
  /** Do not start Cilium: `cilium install` does it then. */
  readonly bare: boolean;
  readonly images: ImageKind;
  /** What was asked for and has no effect. */
  readonly notes: readonly string[];
}

export interface LabOptions {
  readonly nodes?: number;
  /** A file in kind's format. */
  readonly configFile?: string;
  readonly ipv6?: boolean;
  readonly apiPort?: number;
  readonly bare?: boolean;
  /** One of `IMAGE_KINDS`. */
  readonly images?: string;
}

const MOST_NODES = 50;
const DEFAULT_API_PORT = 6443;
const MOST_PORT = 65_535;

/** The whole plan of a lab from the command line and, if given, a kind file. Throws `LabConfigError`. */
export function readLabConfig(options: LabOptions): LabConfig {
  const file = options.configFile === undefined ? undefined : parseKindConfig(readConfigFile(options.configFile), options.configFile);
  if (file && options.nodes !== undefined) throw new LabConfigError("--nodes and --config exclude each other: the file lists the nodes");
  const count = options.nodes ?? 3;
  if (!Number.isInteger(count) || count < 1 || count > MOST_NODES) {
    throw new LabConfigError(`--nodes: found ${count}, a whole number from 1 to ${MOST_NODES} is needed`);
  }
  const apiPort = options.apiPort ?? file?.apiPort ?? DEFAULT_API_PORT;
  if (!Number.isInteger(apiPort) || apiPort < 1 || apiPort > MOST_PORT) {
    const where = options.apiPort === undefined ? `--config ${options.configFile}: networking.apiServerPort` : "--api-port";
    throw new LabConfigError(`${where}: found ${apiPort}, a whole number from 1 to ${MOST_PORT} is needed`);
  }
  const roles =
    file?.nodes ??
    Array.from(
      { length: count },
      (_, index) => ({ role: index === 0 ? "control-plane" : "worker", labels: {}, ports: [], mounts: [] }) as const,
    );
  const ipv6 = options.ipv6 ?? file?.ipv6 ?? false;
  const names = nodeNames(roles.map((node) => node.role));
  const hasWorkers = roles.some((node) => node.role === "worker");
  return {
    nodes: roles.map((node, index) =>
      planNode(names[index] ?? "", { ...node, tainted: hasWorkers && node.role === "control-plane" }, index, ipv6),
    ),
    ipv6,
    apiAddress: file?.apiAddress ?? "127.0.0.1",
    apiPort,
    serviceCidr: "10.96.0.0/16",
    ...(ipv6 ? { serviceCidrV6: "fd00:10:96::/112" } : {}),
    bare: options.bare ?? false,
    images: readImageKind(options.images ?? "emulated"),
    notes: file?.notes ?? [],
  };
}

function readImageKind(text: string): ImageKind {
  const kind = IMAGE_KINDS.find((one) => one === text);
  if (!kind) throw new LabConfigError(`--images: found "${text}", allowed are ${IMAGE_KINDS.join(", ")}`);
  return kind;
}

function readConfigFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    throw new LabConfigError(`--config ${path}: ${(thrown as Error).message}`);
  }
}

/** kind's names: `cilia-control-plane`, `cilia-worker`, `cilia-worker2`, … */
function nodeNames(roles: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return roles.map((role) => {
    const count = (seen.get(role) ?? 0) + 1;
    seen.set(role, count);
    return `cilia-${role}${count === 1 ? "" : count}`;
  });
}

function planNode(name: string, node: KindNode & Pick<NodeConfig, "tainted">, index: number, ipv6: boolean): NodeConfig {
  const plan = { ...node, name, index, ipv4: `172.18.0.${index + 2}` };
  if (!ipv6) return { ...plan, podCidrs: [`10.244.${index}.0/24`] };
  return {
    ...plan,
    ipv6: `fd00:172:18::${(index + 2).toString(16)}`,
    podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index.toString(16)}::/64`],
  };
}
