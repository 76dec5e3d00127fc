import type * as k8s from "./types.ts";

declare const objectType: unique symbol;

/** Where a kind lives in the API: its group, version and plural, and the TypeScript type of its objects. */
export interface Resource<T extends k8s.KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly [objectType]?: T;
}

function resource<T extends k8s.KubeObject>(apiVersion: string, plural: string, kind: string, namespaced: boolean): Resource<T> {
  const slash = apiVersion.indexOf("/");
  const group = slash < 0 ? "" : apiVersion.slice(0, slash);
  return { group, version: apiVersion.slice(slash + 1), plural, kind, namespaced };
}

export const NAMESPACES = resource<k8s.Namespace>("v1", "namespaces", "Namespace", false);
export const PODS = resource<k8s.Pod>("v1", "pods", "Pod", true);
export const NODES = resource<k8s.Node>("v1", "nodes", "Node", false);
export const SERVICES = resource<k8s.Service>("v1", "services", "Service", true);
export const SERVICE_ACCOUNTS = resource<k8s.KubeObject>("v1", "serviceaccounts", "ServiceAccount", true);
export const CONFIG_MAPS = resource<k8s.ConfigMap>("v1", "configmaps", "ConfigMap", true);
export const SECRETS = resource<k8s.Secret>("v1", "secrets", "Secret", true);
export const ENDPOINT_SLICES = resource<k8s.EndpointSlice>("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", true);
export const LEASES = resource<k8s.Lease>("coordination.k8s.io/v1", "leases", "Lease", true);
export const DAEMON_SETS = resource<k8s.DaemonSet>("apps/v1", "daemonsets", "DaemonSet", true);
export const DEPLOYMENTS = resource<k8s.Deployment>("apps/v1", "deployments", "Deployment", true);
const RBAC = "rbac.authorization.k8s.io/v1";
export const CLUSTER_ROLES = resource<k8s.KubeObject>(RBAC, "clusterroles", "ClusterRole", false);
export const CLUSTER_ROLE_BINDINGS = resource<k8s.KubeObject>(RBAC, "clusterrolebindings", "ClusterRoleBinding", false);
export const ROLES = resource<k8s.KubeObject>(RBAC, "roles", "Role", true);
export const ROLE_BINDINGS = resource<k8s.KubeObject>(RBAC, "rolebindings", "RoleBinding", true);
export const NETWORK_POLICIES = resource<k8s.PolicyObject>("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", true);
export const CUSTOM_RESOURCE_DEFINITIONS = resource<k8s.KubeObject>(
  "apiextensions.k8s.io/v1",
  "customresourcedefinitions",
  "CustomResourceDefinition",
  false,
);
export const CILIUM_NETWORK_POLICIES = resource<k8s.PolicyObject>("cilium.io/v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", true);
export const CILIUM_CLUSTERWIDE_NETWORK_POLICIES = resource<k8s.PolicyObject>(
  "cilium.io/v2",
  "ciliumclusterwidenetworkpolicies",
  "CiliumClusterwideNetworkPolicy",
  false,
);
export const CLUSTER_NETWORK_POLICIES = resource<k8s.PolicyObject>(
  "policy.networking.k8s.io/v1alpha2",
  "clusternetworkpolicies",
  "ClusterNetworkPolicy",
  false,
);
export const CILIUM_IDENTITIES = resource<k8s.CiliumIdentity>("cilium.io/v2", "ciliumidentities", "CiliumIdentity", false);
export const CILIUM_ENDPOINTS = resource<k8s.CiliumEndpoint>("cilium.io/v2", "ciliumendpoints", "CiliumEndpoint", true);
export const CILIUM_NODES = resource<k8s.CiliumNode>("cilium.io/v2", "ciliumnodes", "CiliumNode", false);
export const CILIUM_POLICY_USAGES = resource<k8s.CiliumPolicyUsage>("cilium.io/v2", "ciliumpolicyusages", "CiliumPolicyUsage", false);
export const CILIUM_CIDR_GROUPS = resource<k8s.CiliumCIDRGroup>("cilium.io/v2", "ciliumcidrgroups", "CiliumCIDRGroup", false);

export const CILIUM_LOCAL_REDIRECT_POLICIES = resource<k8s.CiliumLocalRedirectPolicy>(
  "cilium.io/v2",
  "ciliumlocalredirectpolicies",
  "CiliumLocalRedirectPolicy",
  true,
);
export const CILIUM_LOAD_BALANCER_IP_POOLS = resource<k8s.CiliumLoadBalancerIPPool>(
  "cilium.io/v2",
  "ciliumloadbalancerippools",
  "CiliumLoadBalancerIPPool",
  false,
);

/** `v1` or `group/version`. */
export function apiVersionOf(of: Resource<k8s.KubeObject>): string {
  return of.group === "" ? of.version : `${of.group}/${of.version}`;
}

/** Which object of a resource: its name, and its namespace when the kind has one. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
}

/** The URL path of a collection (without `name`) or of one object. */
export function pathOf(of: Resource<k8s.KubeObject>, ref: Partial<ObjectRef> = {}, subresource?: string): string {
  const root = of.group === "" ? `/api/${of.version}` : `/apis/${of.group}/${of.version}`;
  const scope = of.namespaced && ref.namespace !== undefined ? `/namespaces/${encodeURIComponent(ref.namespace)}` : "";
  const name = ref.name === undefined ? "" : `/${encodeURIComponent(ref.name)}`;
  return `${root}${scope}/${of.plural}${name}${subresource ? `/${subresource}` : ""}`;
}
