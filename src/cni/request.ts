import { CodedError } from "#runtime/errors.ts";

export type CniCommand = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** What the plugin binary forwards: the runtime's variables and the network configuration. */
export interface CniRequest {
  readonly command: CniCommand;
  readonly containerId: string;
  /** Path of the pod's network namespace; empty at a repeated DEL. */
  readonly netns: string;
  readonly ifname: string;
  /** `CNI_ARGS` of the kubelet. */
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string } | undefined;
  readonly config: CniConfig;
}

export interface CniConfig {
  readonly cniVersion: string;
  /** The result of the plugins before us, and of our own ADD at CHECK and DEL. */
  readonly prevResult?: unknown;
  /** At GC: the attachments that the runtime still knows. */
  readonly validAttachments: readonly { readonly containerID: string; readonly ifname: string }[];
}

/** The codes of the CNI specification; from 100 on they are ours. */
export const CNI_ERROR = {
  incompatibleVersion: 1,
  unknownContainer: 3,
  badEnvironment: 4,
  io: 5,
  decode: 6,
  badConfig: 7,
  tryAgain: 11,
  notAvailable: 50,
  checkFailed: 100,
} as const;

/** A command that fails, as the runtime is told. */
export class CniError extends CodedError {
  readonly number: number;
  constructor(number: number, message: string, options?: ErrorOptions) {
    super(`cni-${number}`, message, options);
    this.number = number;
  }
}

const COMMANDS = new Set<string>(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"]);
const IFNAME = /^[^\s/:]{1,15}$/;

/** Reads one line of the plugin binary. Throws `CniError` that names the variable or field. */
export function parseRequest(line: string): CniRequest {
  const raw = parseJson(line);
  const text = (field: string) => (typeof raw[field] === "string" ? raw[field] : "");
  const command = text("command");
  if (!COMMANDS.has(command))
    throw new CniError(CNI_ERROR.badEnvironment, `CNI_COMMAND: found "${command}", allowed are ${[...COMMANDS].join(", ")}`);
  const request: CniRequest = {
    command: command as CniCommand,
    containerId: text("containerId"),
    netns: text("netns"),
    ifname: text("ifname"),
    pod: parsePod(text("args")),
    config: parseConfig(raw.config),
  };
  requireFields(request);
  return request;
}

function requireFields({ command, containerId, ifname, netns }: CniRequest): void {
  if (command !== "ADD" && command !== "DEL" && command !== "CHECK") return;
  if (!/^[\w.-]+$/.test(containerId))
    throw new CniError(CNI_ERROR.badEnvironment, `CNI_CONTAINERID: found "${containerId}", needed is a container id`);
  if (!IFNAME.test(ifname) || ifname.startsWith(".")) {
    throw new CniError(CNI_ERROR.badEnvironment, `CNI_IFNAME: found "${ifname}", needed is an interface name of up to 15 characters`);
  }
  if (command !== "DEL" && netns === "") throw new CniError(CNI_ERROR.badEnvironment, `CNI_NETNS: empty, needed for ${command}`);
}

function parseJson(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch (thrown) {
    throw new CniError(CNI_ERROR.decode, "the request is no JSON", { cause: thrown });
  }
  throw new CniError(CNI_ERROR.decode, "the request is no JSON object");
}

/** `K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;…` */
function parsePod(args: string): CniRequest["pod"] {
  const pairs = new Map(args.split(";").map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
  const [namespace, name] = [pairs.get("K8S_POD_NAMESPACE"), pairs.get("K8S_POD_NAME")];
  if (!namespace || !name) return undefined;
  return { namespace, name, uid: pairs.get("K8S_POD_UID") ?? "" };
}

function parseConfig(config: unknown): CniConfig {
  const raw = typeof config === "object" && config !== null ? (config as Record<string, unknown>) : {};
  const valid = raw["cni.dev/valid-attachments"];
  const attachments = Array.isArray(valid) ? (valid as { containerID?: string; ifname?: string }[]) : [];
  return {
    cniVersion: typeof raw.cniVersion === "string" ? raw.cniVersion : "0.3.1",
    ...(raw.prevResult === undefined ? {} : { prevResult: raw.prevResult }),
    validAttachments: attachments.map(({ containerID = "", ifname = "" }) => ({ containerID, ifname })),
  };
}
