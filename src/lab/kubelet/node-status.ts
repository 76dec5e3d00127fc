import { cpus, release, totalmem } from "node:os";
import { isDeepStrictEqual } from "node:util";
import { condition, timestamp } from "../controllers/status.ts";
import type { Node } from "../objects.ts";
import { readNetworkList } from "./cni.ts";
import type { PodDeps } from "./pod.ts";

const CONTROL_PLANE = "node-role.kubernetes.io/control-plane";
const MOST_PODS = "110";
const LEASE_RENEWAL_MS = 10_000;

/** Registers the node, and keeps its status and its lease. */
export function startNodeStatus(deps: PodDeps): Disposable & { refresh(): void } {
  register(deps);
  const refresh = () => writeNodeStatus(deps);
  refresh();
  renewLease(deps);
  const timer = setInterval(() => renewLease(deps), LEASE_RENEWAL_MS);
  return { refresh, [Symbol.dispose]: () => clearInterval(timer) };
}

function register({ cluster, host }: PodDeps): void {
  const { name, role, labels, tainted } = host.config;
  if (cluster.get<Node>("nodes", name)) return;
  cluster.create("nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        ...(role === "control-plane" ? { [CONTROL_PLANE]: "", "node.kubernetes.io/exclude-from-external-load-balancers": "" } : {}),
        ...labels,
      },
    },
    spec: {
      providerID: `cilia://lab/${name}`,
      taints: [
        { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" },
        ...(tainted ? [{ key: CONTROL_PLANE, effect: "NoSchedule" }] : []),
      ],
    },
  });
}

function writeNodeStatus({ cluster, host }: PodDeps): void {
  const { name, ipv4, ipv6 } = host.config;
  const node = cluster.get<Node>("nodes", name);
  if (!node) return;
  const networked = readNetworkList(host) !== undefined;
  const amounts = {
    cpu: String(cpus().length),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: MOST_PODS,
    "ephemeral-storage": "50Gi",
  };
  const healthy = (type: string, reason: string, message: string) => ({ type, status: "False", reason, message });
  const conditions = [
    healthy("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    healthy("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    healthy("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    networked
      ? { type: "Ready", status: "True", reason: "KubeletReady", message: "kubelet is posting ready status" }
      : {
          type: "Ready",
          status: "False",
          reason: "KubeletNotReady",
          message:
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
        },
  ].map((next) => condition(node.status?.conditions, next));
  const own = node.status?.conditions?.filter((one) => !conditions.some((next) => next.type === one.type)) ?? [];
  const status = {
    ...node.status,
    addresses: [
      { type: "InternalIP", address: ipv4 },
      ...(ipv6 ? [{ type: "InternalIP", address: ipv6 }] : []),
      { type: "Hostname", address: name },
    ],
    capacity: amounts,
    allocatable: amounts,
    conditions: [...own, ...conditions],
    nodeInfo: {
      architecture: "amd64",
      bootID: "",
      containerRuntimeVersion: "cilia://0.1.0",
      kernelVersion: release(),
      kubeProxyVersion: "",
      kubeletVersion: "v1.33.0",
      machineID: name,
      operatingSystem: "linux",
      osImage: "Cilia lab",
      systemUUID: name,
    },
  };
  if (!isDeepStrictEqual(node.status, status)) cluster.update("nodes", { ...node, status }, { subresource: "status" });
}

interface Lease {
  readonly metadata: object;
}

function renewLease({ cluster, host, log }: PodDeps): void {
  const { name } = host.config;
  const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime: `${timestamp().slice(0, -1)}.000000Z` };
  try {
    if (cluster.get<Lease>("leases.coordination.k8s.io", name, "kube-node-lease")) {
      cluster.patch("leases.coordination.k8s.io", name, "kube-node-lease", { spec });
      return;
    }
    cluster.create("leases.coordination.k8s.io", {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name, namespace: "kube-node-lease" },
      spec,
    });
  } catch (thrown) {
    log.warn("could not renew the node's lease", { node: name, error: String(thrown) });
  }
}
