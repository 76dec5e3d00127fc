import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "../errors.ts";
import type { NodeHost } from "../node-host.ts";
import type { Pod } from "../objects.ts";
import { captureIn, DEFAULT_PATH } from "../process/sandbox.ts";

const CONFIG_DIRECTORY = "etc/cni/net.d";
const BINARY_DIRECTORY = "/opt/cni/bin";

interface Plugin {
  readonly type: string;
}

/** A network configuration list: the plugins that each pod goes through, in order. */
export interface NetworkList {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly Plugin[];
}

/** What ADD answered. */
export interface NetworkResult {
  readonly ips?: readonly { readonly address: string }[];
}

/** Where a pod is attached. */
export interface Attachment {
  readonly containerId: string;
  /** The pod's network namespace, a file inside the node. */
  readonly netns: string;
  readonly pod: Pod;
}

/** The node's network configuration: the first by name, as container runtimes choose it. `undefined` until a CNI agent wrote one. */
export function readNetworkList(host: NodeHost): NetworkList | undefined {
  const directory = join(host.root, CONFIG_DIRECTORY);
  for (const name of listFiles(directory)) {
    if (!/\.(conflist|conf|json)$/.test(name)) continue;
    try {
      const parsed = JSON.parse(readFileSync(join(directory, name), "utf8")) as NetworkList & Plugin;
      return parsed.plugins ? parsed : { name: parsed.name, cniVersion: parsed.cniVersion, plugins: [parsed] };
    } catch {
      // Half written; the next look sees it whole.
    }
  }
  return undefined;
}

/** The directory to watch for network configurations. */
export function networkDirectory(host: NodeHost): string {
  return join(host.root, CONFIG_DIRECTORY);
}

function listFiles(directory: string): string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}

/** ADD, plugin after plugin. Rejects with a `LabError` carrying the plugin's own message. */
export async function addNetwork(host: NodeHost, list: NetworkList, attachment: Attachment): Promise<NetworkResult> {
  let result: NetworkResult = {};
  for (const plugin of list.plugins) result = await call(host, "ADD", list, plugin, attachment, result);
  return result;
}

/** DEL in reverse order; a plugin treats what is gone already as success. */
export async function deleteNetwork(host: NodeHost, list: NetworkList, attachment: Attachment): Promise<void> {
  for (const plugin of list.plugins.toReversed()) await call(host, "DEL", list, plugin, attachment);
}

/** CHECK: whether the attachment is still as ADD left it. Rejects when not. */
export async function checkNetwork(host: NodeHost, list: NetworkList, attachment: Attachment, result: NetworkResult): Promise<void> {
  for (const plugin of list.plugins) await call(host, "CHECK", list, plugin, attachment, result);
}

async function call(
  host: NodeHost,
  command: "ADD" | "DEL" | "CHECK",
  list: NetworkList,
  plugin: Plugin,
  { containerId, netns, pod }: Attachment,
  previous?: NetworkResult,
): Promise<NetworkResult> {
  const { name, namespace, uid } = pod.metadata;
  const env = {
    PATH: DEFAULT_PATH,
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: "eth0",
    CNI_PATH: BINARY_DIRECTORY,
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_INFRA_CONTAINER_ID=${containerId};K8S_POD_UID=${uid}`,
  };
  const hasPrevious = previous !== undefined && Object.keys(previous).length > 0;
  const config = { ...plugin, name: list.name, cniVersion: list.cniVersion, ...(hasPrevious ? { prevResult: previous } : {}) };
  const binary = join(BINARY_DIRECTORY, plugin.type);
  const options = { sandbox: host.sandbox, cgroup: join(host.cgroup, "node"), env };
  const { code, stdout, stderr } = await captureIn(options, [binary], JSON.stringify(config));
  if (code === 0) return parseResult(stdout);
  const { msg, details } = parseResult(stdout) as { msg?: string; details?: string };
  const said = [msg, details].filter(Boolean).join(": ") || stderr.trim() || `exit status ${code}`;
  throw new LabError("cni", `plugin type="${plugin.type}" failed (${command.toLowerCase()}): ${said}`);
}

function parseResult(text: string): NetworkResult {
  try {
    return text.trim() === "" ? {} : (JSON.parse(text) as NetworkResult);
  } catch {
    return {};
  }
}
