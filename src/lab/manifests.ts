import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import type { Cluster } from "./cluster.ts";
import type { LabConfig, NodeConfig } from "./config.ts";
import type { AnyObject, Node } from "./objects.ts";

const RESOURCES: Readonly<Record<string, string>> = {
  ServiceAccount: "serviceaccounts",
  ConfigMap: "configmaps",
  Service: "services",
  DaemonSet: "daemonsets.apps",
  Deployment: "deployments.apps",
  Namespace: "namespaces",
  ClusterRole: "clusterroles.rbac.authorization.k8s.io",
  ClusterRoleBinding: "clusterrolebindings.rbac.authorization.k8s.io",
  Role: "roles.rbac.authorization.k8s.io",
  RoleBinding: "rolebindings.rbac.authorization.k8s.io",
};

/** The objects of a manifest of `manifests/`, with `@NAME@` replaced. */
export function readManifest(file: "cilium.yaml" | "hubble.yaml" | "dns.yaml", values: Readonly<Record<string, string>> = {}): AnyObject[] {
  const text = readFileSync(new URL(`manifests/${file}`, import.meta.url), "utf8");
  const filled = text.replace(/@([A-Z0-9_]+)@/g, (whole, name: string) => values[name] ?? whole);
  return parseAllDocuments(filled).map((document) => document.toJSON() as AnyObject);
}

/** Creates what the cluster needs to work: DNS and, unless the lab is to be bare, Cilium. */
export function applySystemManifests(cluster: Cluster, config: LabConfig): void {
  const values = { API_HOST: config.nodes[0]?.ipv4 ?? "", API_PORT: "6443", IPV6: String(config.ipv6) };
  const files = config.bare ? (["dns.yaml"] as const) : (["cilium.yaml", "hubble.yaml", "dns.yaml"] as const);
  for (const file of files) {
    for (const object of readManifest(file, values)) cluster.create(RESOURCES[object.kind] ?? object.kind, object);
  }
}

const CONTROL_PLANE = [
  ["etcd", "registry.k8s.io/etcd:3.6.4-0"],
  ["kube-apiserver", "registry.k8s.io/kube-apiserver:v1.33.0"],
  ["kube-controller-manager", "registry.k8s.io/kube-controller-manager:v1.33.0"],
  ["kube-scheduler", "registry.k8s.io/kube-scheduler:v1.33.0"],
] as const;

/** Shows the parts of the lab's own process as the pods that they are on other clusters. */
export function createMirrorPods(cluster: Cluster, { name }: NodeConfig): void {
  const node = cluster.get<Node>("nodes", name);
  if (!node) return;
  for (const [component, image] of CONTROL_PLANE) {
    cluster.create("pods", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: `${component}-${name}`,
        namespace: "kube-system",
        labels: { component, tier: "control-plane" },
        annotations: { "kubernetes.io/config.mirror": node.metadata.uid, "kubernetes.io/config.source": "file" },
        ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid: node.metadata.uid, controller: true }],
      },
      spec: {
        nodeName: name,
        hostNetwork: true,
        priorityClassName: "system-node-critical",
        tolerations: [{ operator: "Exists", effect: "NoExecute" }],
        containers: [{ name: component, image }],
      },
    });
  }
}
