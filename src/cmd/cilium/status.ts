import { sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import { askAgents } from "./agents.ts";
import type { ClusterOptions } from "./config.ts";
import type { AgentStatusShape } from "./shapes.ts";
import { type ClusterStatus, isReady, readClusterStatus } from "./status-cluster.ts";
import { formatClusterStatus } from "./status-print.ts";

export interface StatusOptions extends ClusterOptions {
  readonly wait: boolean;
  readonly waitMs: number;
  readonly verbose: boolean;
  readonly output?: string;
  readonly colour: boolean;
}

export interface StatusResult {
  readonly text: string;
  readonly ok: boolean;
}

/** `status` on a workstation: the installation's workloads, and what an agent says of itself. With `wait` until all is well. */
export async function clusterStatus(options: StatusOptions): Promise<StatusResult> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  const deadline = performance.now() + (options.wait ? options.waitMs : 0);
  let status = await readClusterStatus(cluster, options.namespace);
  while (!isWell(status) && performance.now() < deadline) {
    await sleep(250);
    status = await readClusterStatus(cluster, options.namespace);
  }
  const agent = await agentStatus(options, status);
  const ok = isWell(status);
  if (options.output === "json") return { text: `${JSON.stringify(toJson(status, agent), null, 2)}\n`, ok };
  if (options.output && options.output !== "summary") throw new Error(`-o ${options.output}: allowed are summary and json`);
  return { text: formatClusterStatus(status, agent, options), ok };
}

function isWell(status: ClusterStatus): boolean {
  return Object.keys(status.errors).length === 0;
}

/** One agent's own status; an agent that does not answer is a warning, since the table above already shows what is missing. */
async function agentStatus(options: ClusterOptions, status: ClusterStatus): Promise<AgentStatusShape | undefined> {
  try {
    const { agentPods } = await import("./agents.ts");
    const { cluster, pods } = await agentPods(options);
    cluster[Symbol.dispose]();
    const [answer] = await askAgents<AgentStatusShape>("/v1/healthz", {
      ...options,
      node: (pods.find(isReady) ?? pods[0])?.spec?.nodeName,
    });
    return answer?.value;
  } catch (thrown) {
    const why = status.restarting.cilium ? "agents are restarting, their nodes go on by what the kernel has" : errorMessage(thrown);
    process.stderr.write(`cilium: no agent answers: ${why}\n`);
    return undefined;
  }
}

/** Upstream's keys. */
function toJson(status: ClusterStatus, agent: AgentStatusShape | undefined): unknown {
  return {
    image_count: status.images,
    phase_count: status.phases,
    pod_state: Object.fromEntries(
      status.components.map((one) => [
        one.name,
        { desired: one.desired, ready: one.ready, available: one.available, unavailable: one.desired - one.available, type: one.kind },
      ]),
    ),
    pods_count: { all: status.pods.all, by_cilium: status.pods.byCilium },
    cilium_status: agent ? { [agent.node ?? "agent"]: agent } : {},
    errors: status.errors,
    collection_errors: [],
  };
}
