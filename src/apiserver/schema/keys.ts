import type { Schema } from "./schema.ts";

/**
 * What TypeScript types do not say: which lists are merged by which keys. `Type.field` → the key of strategic merge patch,
 * then further keys that server-side apply needs to tell items apart. Lists not named here are atomic.
 */
const MERGED_LISTS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  "PodSpec.containers": ["name"],
  "PodSpec.initContainers": ["name"],
  "PodSpec.ephemeralContainers": ["name"],
  "PodSpec.volumes": ["name"],
  "PodSpec.imagePullSecrets": ["name"],
  "PodSpec.hostAliases": ["ip"],
  "PodSpec.topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
  "PodSpec.resourceClaims": ["name"],
  "PodSpec.schedulingGates": ["name"],
  "Container.env": ["name"],
  "Container.ports": ["containerPort", "protocol"],
  "Container.volumeMounts": ["mountPath"],
  "Container.volumeDevices": ["devicePath"],
  "EphemeralContainer.env": ["name"],
  "EphemeralContainer.ports": ["containerPort", "protocol"],
  "EphemeralContainer.volumeMounts": ["mountPath"],
  "EphemeralContainer.volumeDevices": ["devicePath"],
  "ResourceRequirements.claims": ["name"],
  "PodStatus.conditions": ["type"],
  "PodStatus.podIPs": ["ip"],
  "ServiceSpec.ports": ["port", "protocol"],
  "ServiceStatus.conditions": ["type"],
  "ServiceAccount.secrets": ["name"],
  "NodeStatus.addresses": ["type"],
  "NodeStatus.conditions": ["type"],
  "NamespaceStatus.conditions": ["type"],
  "PersistentVolumeClaimStatus.conditions": ["type"],
  "ReplicationControllerStatus.conditions": ["type"],
  "DeploymentStatus.conditions": ["type"],
  "DaemonSetStatus.conditions": ["type"],
  "ReplicaSetStatus.conditions": ["type"],
  "StatefulSetStatus.conditions": ["type"],
  "JobStatus.conditions": ["type"],
  "PodDisruptionBudgetStatus.conditions": ["type"],
  "HorizontalPodAutoscalerStatus.conditions": ["type"],
  "CustomResourceDefinitionStatus.conditions": ["type"],
  "ObjectMeta.ownerReferences": ["uid"],
  "ValidatingWebhookConfiguration.webhooks": ["name"],
  "MutatingWebhookConfiguration.webhooks": ["name"],
};

/** Lists of scalars that are merged as sets. */
const SETS: ReadonlySet<string> = new Set(["ObjectMeta.finalizers", "NodeSpec.podCIDRs", "Endpoint.addresses"]);

/** Fields whose merged items also drop what a patch does not name (`retainKeys`). */
const RETAIN_KEYS: ReadonlySet<string> = new Set(["PodSpec.volumes", "PodSpec.resourceClaims", "DeploymentSpec.strategy"]);

/** Objects that server-side apply takes or leaves as a whole. */
const ATOMIC_TYPES: ReadonlySet<string> = new Set([
  "LabelSelector",
  "LocalObjectReference",
  "ObjectReference",
  "TypedLocalObjectReference",
  "SecretKeySelector",
  "ConfigMapKeySelector",
  "ObjectFieldSelector",
  "ResourceFieldSelector",
  "SecretReference",
  "NodeSelector",
  "NodeSelectorTerm",
  "TopologySelectorTerm",
  "RoleRef",
  "Subject",
  "EndpointAddress",
  "EndpointPort",
  "ScopeSelector",
]);

/** Map fields that are taken as a whole. */
const ATOMIC_FIELDS: ReadonlySet<string> = new Set(["ServiceSpec.selector", "PodSpec.nodeSelector", "ReplicationControllerSpec.selector"]);

/** Keys that have a value when the author leaves them out; needed to tell list items apart. */
const KEY_DEFAULTS: Readonly<Record<string, unknown>> = {
  "ContainerPort.protocol": "TCP",
  "ServicePort.protocol": "TCP",
};

/** Adds merge keys and list types to the field `type.name`. */
export function annotateField(type: string, name: string, schema: Schema): Schema {
  const path = `${type}.${name}`;
  const keys = MERGED_LISTS[path];
  const annotated: Schema = { ...schema };
  if (keys) {
    annotated["x-kubernetes-list-type"] = "map";
    annotated["x-kubernetes-list-map-keys"] = keys;
    annotated["x-kubernetes-patch-merge-key"] = keys[0];
    annotated["x-kubernetes-patch-strategy"] = RETAIN_KEYS.has(path) ? "merge,retainKeys" : "merge";
  } else if (SETS.has(path)) {
    annotated["x-kubernetes-list-type"] = "set";
    if (path === "ObjectMeta.finalizers") annotated["x-kubernetes-patch-strategy"] = "merge";
  } else if (schema.type === "array") {
    annotated["x-kubernetes-list-type"] = "atomic";
  } else if (RETAIN_KEYS.has(path)) {
    annotated["x-kubernetes-patch-strategy"] = "retainKeys";
  }
  if (ATOMIC_FIELDS.has(path)) annotated["x-kubernetes-map-type"] = "atomic";
  if (KEY_DEFAULTS[path] !== undefined) annotated.default = KEY_DEFAULTS[path];
  return annotated;
}

/** Fields that are declared as required but that the server has always filled in. */
const OPTIONAL: ReadonlySet<string> = new Set(["NetworkPolicySpec.podSelector"]);

export const isOptional = (type: string, field: string): boolean => OPTIONAL.has(`${type}.${field}`);

export const isAtomicType = (type: string): boolean => ATOMIC_TYPES.has(type);
