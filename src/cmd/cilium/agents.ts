import { existsSync } from "node:fs";
import { request } from "node:http";
import type { Cluster } from "#k8s/client.ts";
import type { Pod } from "#k8s/types.ts";
import { CodedError } from "#runtime/errors.ts";

export class AgentError extends CodedError {}

/** The agent's API, as its own node reaches it. */
export const AGENT_SOCKET = process.env.CILIUM_SOCKET_PATH ?? "/var/run/cilium/cilium.sock";

export interface AgentAnswer<T> {
  /** Name of the node; empty for the local agent. */
  readonly node: string;
  readonly value: T;
}

/** One request to the local agent. Rejects with `AgentError` with the agent's message. */
export async function askLocalAgent(method: string, path: string, body?: unknown): Promise<unknown> {
  const text = await localRequest(method, path, body === undefined ? undefined : JSON.stringify(body));
  return text === "" ? undefined : JSON.parse(text);
}

/** The answer as the agent sent it. */
export function localRequest(method: string, path: string, body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const outgoing = request({ socketPath: AGENT_SOCKET, path, method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve(text);
        else reject(new AgentError(`http-${status}`, messageOf(text) || `${method} ${path}: HTTP ${status}`));
      });
    });
    outgoing.on("error", (cause) => reject(new AgentError("unreachable", `the agent does not answer on ${AGENT_SOCKET}`, { cause })));
    outgoing.end(body);
  });
}

function messageOf(text: string): string {
  try {
    const value = JSON.parse(text) as { message?: string } | string;
    return typeof value === "string" ? value : (value.message ?? text);
  } catch {
    return text.trim();
  }
}

export function isLocal(): boolean {
  return existsSync(AGENT_SOCKET);
}

export interface AskOptions {
  /** Only this node's agent. */
  readonly node?: string | undefined;
  /** All agents, also on a node, where else its own is asked alone. */
  readonly everywhere?: boolean | undefined;
  readonly kubeconfig?: string | undefined;
  readonly namespace: string;
}

/** What an agent is told to change. */
export interface AgentChange {
  readonly method: "PATCH" | "POST" | "DELETE";
  readonly body?: unknown;
}

/**
 * Asks the local agent, or on a workstation every agent of the cluster, side by side. An agent that does not answer is an error
 * naming its node; the others' answers are not lost to it when at least one answered: the failure goes to standard error.
 */
export async function askAgents<T>(path: string, options: AskOptions, change?: AgentChange): Promise<AgentAnswer<T>[]> {
  const { method, body } = change ?? { method: "GET", body: undefined };
  if (isLocal() && options.node === undefined && options.everywhere !== true)
    return [{ node: "", value: (await askLocalAgent(method, path, body)) as T }];
  const more = body === undefined ? [] : [JSON.stringify(body)];
  const { cluster, pods } = await agentPods(options);
  using _ = cluster;
  const answers = await Promise.allSettled(
    pods.map(async (pod): Promise<AgentAnswer<T>> => {
      const stdout = await execAgent(cluster, pod, ["cilium-dbg", "api", method, path, ...more]);
      return { node: pod.spec?.nodeName ?? "", value: JSON.parse(stdout) as T };
    }),
  );
  const values = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const failures = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as Error] : []));
  if (values.length === 0 && failures[0]) throw failures[0];
  for (const failure of failures) process.stderr.write(`cilium: ${failure.message}\n`);
  return values;
}

/** The cluster's agent pods, by node name. Rejects when there are none. */
export async function agentPods(options: AskOptions): Promise<{ cluster: Cluster; pods: Pod[] }> {
  const [{ openCluster }, { loadClusterConfig }, { PODS }] = await Promise.all([
    import("#k8s/client.ts"),
    import("#k8s/config.ts"),
    import("#k8s/resources.ts"),
  ]);
  const cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  const { items } = await cluster.list(PODS, { namespace: options.namespace, labelSelector: "k8s-app=cilium" });
  const running = items.filter((pod) => pod.status?.phase === "Running" && !pod.metadata.deletionTimestamp);
  const pods = running.filter((pod) => options.node === undefined || pod.spec?.nodeName === options.node);
  if (pods.length === 0) {
    const where = options.node ? `on node ${options.node}` : `in namespace ${options.namespace}`;
    throw new AgentError("no-agents", `no running Cilium agent ${where} (pods with the label k8s-app=cilium)`);
  }
  return { cluster, pods: pods.sort((a, b) => (a.spec?.nodeName ?? "").localeCompare(b.spec?.nodeName ?? "")) };
}

/** Runs a command in an agent's pod and returns its standard output. */
export async function execAgent(cluster: Cluster, pod: Pod, command: readonly string[]): Promise<string> {
  const { execInPod } = await import("#k8s/exec.ts");
  const { name, namespace = "kube-system" } = pod.metadata;
  const result = await execInPod(cluster.config, { namespace, pod: name, container: "cilium-agent", command });
  if (result.exitCode === 0) return result.stdout;
  throw new AgentError("exec-failed", `node ${pod.spec?.nodeName}: ${result.stderr.trim() || `exit status ${result.exitCode}`}`);
}
