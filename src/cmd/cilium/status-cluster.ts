import type { Cluster } from "#k8s/client.ts";
import { DAEMON_SETS, DEPLOYMENTS, NAMESPACES, NODES, PODS } from "#k8s/resources.ts";
import type { DaemonSet, Deployment, KubeObject, Pod } from "#k8s/types.ts";
import { scopeAudit } from "#policy/rule.ts";

/** One workload of the installation, as `cilium status` shows it. */
export interface Component {
  readonly kind: "DaemonSet" | "Deployment";
  readonly name: string;
  readonly desired: number;
  readonly ready: number;
  readonly available: number;
}

export interface ClusterStatus {
  readonly components: readonly Component[];
  /** Pods of the components by phase. */
  readonly phases: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly images: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly errors: Readonly<Record<string, readonly string[]>>;
  /** Of the workloads with errors those that have no other: how many of their pods have ended and start again. */
  readonly restarting: Readonly<Record<string, number>>;
  /** What is not meant, most likely, but breaks nothing, by what it is about. */
  readonly warnings: Readonly<Record<string, readonly string[]>>;
  readonly pods: { readonly all: number; readonly byCilium: number };
}

const WORKLOADS = [
  { kind: "DaemonSet", name: "cilium", selector: "k8s-app=cilium" },
  { kind: "DaemonSet", name: "cilium-envoy", selector: "k8s-app=cilium-envoy" },
  { kind: "DaemonSet", name: "cilium-envoy-standby", selector: "k8s-app=cilium-envoy-standby" },
  { kind: "Deployment", name: "cilium-operator", selector: "name=cilium-operator" },
  { kind: "Deployment", name: "hubble-relay", selector: "k8s-app=hubble-relay" },
  { kind: "Deployment", name: "hubble-ui", selector: "k8s-app=hubble-ui" },
] as const;

/** Reads the installation from the API server. */
export async function readClusterStatus(cluster: Cluster, namespace: string): Promise<ClusterStatus> {
  const [daemonSets, deployments, pods, nodes, namespaces] = await Promise.all([
    cluster.list(DAEMON_SETS, { namespace }),
    cluster.list(DEPLOYMENTS, { namespace }),
    cluster.list(PODS),
    cluster.list(NODES),
    cluster.list(NAMESPACES),
  ]);
  const found = [...daemonSets.items.map(daemonSetComponent), ...deployments.items.map(deploymentComponent)];
  const components = WORKLOADS.flatMap(({ kind, name }) => found.filter((one) => one.kind === kind && one.name === name));
  const own = new Map<string, Pod[]>(
    WORKLOADS.map(({ name, selector }) => [name, pods.items.filter((pod) => isOwn(pod, namespace, selector))]),
  );
  const errors: Record<string, string[]> = {};
  const restarting: Record<string, number> = {};
  for (const component of components) {
    const missing = component.desired - component.ready;
    if (missing === 0 && component.desired > 0) continue;
    const reasons = reasonsOf(own.get(component.name) ?? []);
    const again = reasons.filter(({ restarts }) => restarts).length;
    if (again > 0 && again >= missing) restarting[component.name] = again;
    errors[component.name] = [
      `${missing || "all"} pods of ${component.kind} ${component.name} are not ready`,
      ...reasons.map(({ text }) => text),
    ];
  }
  if (!components.some(({ name }) => name === "cilium")) errors.cilium = ['daemonsets.apps "cilium" not found: Cilium is not installed'];
  const workload = pods.items.filter((pod) => !pod.spec?.hostNetwork && pod.status?.phase === "Running");
  const managedNodes = new Set((own.get("cilium") ?? []).filter(isReady).map((pod) => pod.spec?.nodeName));
  return {
    components,
    phases: countBy(own, components, (pod) => pod.status?.phase ?? "Unknown"),
    images: countBy(own, components, (pod) => pod.spec?.containers?.[0]?.image ?? "?"),
    errors: nodes.items.length === 0 ? { ...errors, cluster: ["there are no nodes"] } : errors,
    restarting,
    warnings: auditWarnings([...namespaces.items, ...pods.items]),
    pods: { all: workload.length, byCilium: workload.filter((pod) => managedNodes.has(pod.spec?.nodeName)).length },
  };
}

/** Audit modes that are spelt wrong: whoever wrote them believes that nothing is denied. */
function auditWarnings(objects: readonly KubeObject[]): Record<string, string[]> {
  const found = objects.flatMap(({ metadata: { namespace, name, annotations } }) => {
    const { problem } = scopeAudit(annotations);
    const title = namespace === undefined ? `namespace ${name}` : `pod ${namespace}/${name}`;
    return problem === undefined ? [] : [`${title}: ${problem}`];
  });
  return found.length === 0 ? {} : { "audit mode": found };
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

function isOwn(pod: Pod, namespace: string, selector: string): boolean {
  const [key = "", value] = selector.split("=");
  return pod.metadata.namespace === namespace && pod.metadata.labels?.[key] === value && !pod.metadata.deletionTimestamp;
}

function daemonSetComponent({ metadata, status }: DaemonSet): Component {
  const { desiredNumberScheduled = 0, numberReady = 0, numberAvailable = 0 } = status ?? {};
  return { kind: "DaemonSet", name: metadata.name, desired: desiredNumberScheduled, ready: numberReady, available: numberAvailable };
}

function deploymentComponent({ metadata, spec, status }: Deployment): Component {
  const { readyReplicas = 0, availableReplicas = 0 } = status ?? {};
  return { kind: "Deployment", name: metadata.name, desired: spec?.replicas ?? 1, ready: readyReplicas, available: availableReplicas };
}

interface Reason {
  readonly text: string;
  /** A container of it has ended, and another one is on its way. */
  readonly restarts: boolean;
}

/** Who has ended that often does not come back by itself. */
const RESTARTS_MAX = 5;

function reasonsOf(pods: readonly Pod[]): Reason[] {
  return pods.filter((pod) => !isReady(pod)).map(reasonOf);
}

/** Why a pod is not ready, as far as its status tells. */
export function reasonOf({ metadata, spec, status }: Pod): Reason {
  const where = spec?.nodeName ? `${metadata.name} on ${spec.nodeName}` : metadata.name;
  const container = status?.containerStatuses?.find(({ ready }) => !ready);
  const ended = container?.state?.terminated ?? container?.lastState?.terminated;
  if (container && ended) {
    const restarts = container.restartCount < RESTARTS_MAX;
    const what = `${container.name === "cilium-agent" ? "agent" : container.name} ${restarts ? "restarting" : "keeps ending"}`;
    const when = ended.finishedAt ? ` at ${ended.finishedAt}` : "";
    return { text: `${where}: ${what}, it ended with status ${ended.exitCode}${when}, restart ${container.restartCount}`, restarts };
  }
  if (status?.phase !== "Running") return { text: `${where} is ${status?.phase ?? "not scheduled"}`, restarts: false };
  return { text: `${where} has started and is not ready yet`, restarts: false };
}

function countBy(
  own: ReadonlyMap<string, readonly Pod[]>,
  components: readonly Component[],
  key: (pod: Pod) => string,
): Record<string, Record<string, number>> {
  return Object.fromEntries(
    components.map(({ name }) => {
      const groups = Object.groupBy(own.get(name) ?? [], key);
      return [name, Object.fromEntries(Object.entries(groups).map(([group, pods]) => [group, pods?.length ?? 0]))];
    }),
  );
}
