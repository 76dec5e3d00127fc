import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { Cluster } from "./cluster.ts";
import type { LabConfig } from "./config.ts";
import type { Kubelet } from "./kubelet/kubelet.ts";
import type { PodWorker } from "./kubelet/pod.ts";
import { isReady, type Node, type Pod } from "./objects.ts";
import { paths } from "./paths.ts";

export interface PodReport {
  readonly namespace: string;
  readonly name: string;
  readonly phase: string;
  readonly ready: boolean;
  readonly ip: string;
  readonly containers: readonly {
    readonly name: string;
    readonly pid: number;
    readonly restarts: number;
    readonly state: string;
    readonly message?: string;
  }[];
}

export interface NodeReport {
  readonly name: string;
  readonly role: string;
  readonly ip: string;
  readonly ready: boolean;
  /** A process that lives in the node's namespaces: `nsenter -t PID -n -m -u`. */
  readonly pid: number;
  readonly agent?: { readonly pid: number };
  readonly proxy?: { readonly pid: number };
  readonly operator?: { readonly pid: number };
  readonly relay?: { readonly pid: number };
  readonly pods: readonly PodReport[];
}

/** What `cilium lab status` shows. */
export interface LabReport {
  readonly pid: number;
  readonly apiServer: string;
  readonly kubeconfig: string;
  /** All nodes, and all pods of kube-system, are ready. */
  readonly ready: boolean;
  readonly nodes: readonly NodeReport[];
  /** Pods that no node could take yet, and why. */
  readonly unscheduled: readonly { readonly namespace: string; readonly name: string; readonly message: string }[];
}

export interface ControlDeps {
  readonly cluster: Cluster;
  readonly kubelets: readonly Kubelet[];
  readonly config: LabConfig;
}

const DAEMONS = { agent: "cilium-agent", proxy: "cilium-envoy", operator: "cilium-operator", relay: "hubble-relay" } as const;

/** Answers `GET /status` on the lab's Unix socket. */
export async function startControlSocket(deps: ControlDeps): Promise<AsyncDisposable> {
  rmSync(paths.control, { force: true });
  const server = createServer((request, response) => {
    if (request.url !== "/status") response.writeHead(404).end();
    else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(reportLab(deps)));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(paths.control, resolve);
  });
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The lab as it is now. */
export function reportLab({ cluster, kubelets, config }: ControlDeps): LabReport {
  const nodes = kubelets.map((kubelet) => reportNode(cluster, kubelet));
  const system = cluster.list<Pod>("pods", { namespace: "kube-system" }).items.filter((pod) => !pod.metadata.deletionTimestamp);
  const podsReady = system.length > 0 && system.every(isReady);
  return {
    pid: process.pid,
    apiServer: `https://127.0.0.1:${config.apiPort}`,
    kubeconfig: paths.kubeconfig,
    ready: podsReady && (config.bare || nodes.every((node) => node.ready)),
    nodes,
    unscheduled: cluster
      .list<Pod>("pods")
      .items.filter((pod) => !pod.spec.nodeName)
      .map(({ metadata, status }) => ({
        namespace: metadata.namespace,
        name: metadata.name,
        message: status?.conditions?.find((one) => one.type === "PodScheduled")?.message ?? "waiting for a node",
      })),
  };
}

function reportNode(cluster: Cluster, kubelet: Kubelet): NodeReport {
  const { config, sandbox } = kubelet.host;
  const node = cluster.get<Node>("nodes", config.name);
  const ready = node?.status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") ?? false;
  const workers = kubelet.workers();
  const daemons = Object.entries(DAEMONS).flatMap(([key, container]) => {
    const pid = workers.map((worker) => worker.container(container)?.record.run?.pid).find((one) => one !== undefined);
    return pid === undefined ? [] : [[key, { pid }] as const];
  });
  return {
    name: config.name,
    role: config.role,
    ip: config.ipv4,
    ready,
    pid: sandbox.pid,
    ...Object.fromEntries(daemons),
    pods: workers.map((worker) => reportPod(cluster, worker)),
  };
}

function reportPod(cluster: Cluster, worker: PodWorker): PodReport {
  const { name, namespace } = worker.pod.metadata;
  const pod = cluster.get<Pod>("pods", name, namespace) ?? worker.pod;
  return {
    namespace,
    name,
    phase: pod.status?.phase ?? "Pending",
    ready: isReady(pod),
    ip: pod.status?.podIP ?? "",
    containers: worker.containers.map(({ record: { container, run, restarts, state } }) => ({
      name: container.name,
      pid: state.running ? (run?.pid ?? 0) : 0,
      restarts,
      state: state.running ? "Running" : (state.terminated?.reason ?? state.waiting?.reason ?? "Waiting"),
      ...(state.waiting?.message ? { message: state.waiting.message } : {}),
    })),
  };
}
