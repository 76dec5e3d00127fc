import { columnsOf } from "../printer/builtin.ts";
import { modelSchema, refTo, resolveModel } from "../schema/models.ts";
import type { Schema } from "../schema/schema.ts";
import { eventConversion } from "./events.ts";
import { apiVersionOf, type Resource, type ScalePaths } from "./resource.ts";

interface Row {
  readonly kind: string;
  readonly plural: string;
  readonly short?: readonly string[];
  readonly all?: true;
  readonly cluster?: true;
  readonly sub?: readonly string[];
  readonly scale?: true;
  /** The folder of the type declarations when it is not the first label of the group. */
  readonly types?: string;
}

const row = (kind: string, plural: string, more: Omit<Row, "kind" | "plural"> = {}): Row => ({ kind, plural, ...more });

const STATUS = ["status"] as const;
const POD_SUB = ["status", "log", "exec", "attach", "portforward", "binding", "eviction"] as const;

/** Everything that is served without a CustomResourceDefinition, by group version. Types come from `kubernetes-types`. */
const TABLE: Readonly<Record<string, readonly Row[]>> = {
  v1: [
    row("Namespace", "namespaces", { short: ["ns"], cluster: true, sub: ["status", "finalize"] }),
    row("Node", "nodes", { short: ["no"], cluster: true, sub: STATUS }),
    row("Pod", "pods", { short: ["po"], all: true, sub: POD_SUB }),
    row("Service", "services", { short: ["svc"], all: true, sub: STATUS }),
    row("Endpoints", "endpoints", { short: ["ep"] }),
    row("ConfigMap", "configmaps", { short: ["cm"] }),
    row("Secret", "secrets"),
    row("ServiceAccount", "serviceaccounts", { short: ["sa"], sub: ["token"] }),
    row("Event", "events", { short: ["ev"] }),
    row("ReplicationController", "replicationcontrollers", { short: ["rc"], all: true, sub: ["status", "scale"], scale: true }),
    row("PersistentVolume", "persistentvolumes", { short: ["pv"], cluster: true, sub: STATUS }),
    row("PersistentVolumeClaim", "persistentvolumeclaims", { short: ["pvc"], sub: STATUS }),
    row("LimitRange", "limitranges", { short: ["limits"] }),
    row("ResourceQuota", "resourcequotas", { short: ["quota"], sub: STATUS }),
    row("PodTemplate", "podtemplates"),
  ],
  "apps/v1": [
    row("Deployment", "deployments", { short: ["deploy"], all: true, sub: ["status", "scale"], scale: true }),
    row("ReplicaSet", "replicasets", { short: ["rs"], all: true, sub: ["status", "scale"], scale: true }),
    row("StatefulSet", "statefulsets", { short: ["sts"], all: true, sub: ["status", "scale"], scale: true }),
    row("DaemonSet", "daemonsets", { short: ["ds"], all: true, sub: STATUS }),
    row("ControllerRevision", "controllerrevisions"),
  ],
  "batch/v1": [row("Job", "jobs", { all: true, sub: STATUS }), row("CronJob", "cronjobs", { short: ["cj"], all: true, sub: STATUS })],
  "networking.k8s.io/v1": [
    row("NetworkPolicy", "networkpolicies", { short: ["netpol"] }),
    row("Ingress", "ingresses", { short: ["ing"], sub: STATUS }),
    row("IngressClass", "ingressclasses", { cluster: true }),
  ],
  "discovery.k8s.io/v1": [row("EndpointSlice", "endpointslices")],
  "coordination.k8s.io/v1": [row("Lease", "leases")],
  "policy/v1": [row("PodDisruptionBudget", "poddisruptionbudgets", { short: ["pdb"], sub: STATUS })],
  "rbac.authorization.k8s.io/v1": [
    row("Role", "roles"),
    row("RoleBinding", "rolebindings"),
    row("ClusterRole", "clusterroles", { cluster: true }),
    row("ClusterRoleBinding", "clusterrolebindings", { cluster: true }),
  ],
  "storage.k8s.io/v1": [row("StorageClass", "storageclasses", { short: ["sc"], cluster: true })],
  "scheduling.k8s.io/v1": [row("PriorityClass", "priorityclasses", { short: ["pc"], cluster: true })],
  "events.k8s.io/v1": [row("Event", "events", { short: ["ev"] })],
  "autoscaling/v2": [row("HorizontalPodAutoscaler", "horizontalpodautoscalers", { short: ["hpa"], all: true, sub: STATUS })],
  "node.k8s.io/v1": [row("RuntimeClass", "runtimeclasses", { cluster: true })],
  "admissionregistration.k8s.io/v1": [
    row("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", { cluster: true }),
    row("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", { cluster: true }),
  ],
  "apiextensions.k8s.io/v1": [
    row("CustomResourceDefinition", "customresourcedefinitions", { short: ["crd", "crds"], cluster: true, sub: STATUS }),
  ],
};

export const ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] as const;

const SCALE: ScalePaths = { specReplicas: ["spec", "replicas"], statusReplicas: ["status", "replicas"] };

/** The built-in resources. Schemas are read from disk when first asked for. */
export function builtinResources(): Resource[] {
  return Object.entries(TABLE).flatMap(([groupVersion, rows]) => rows.map((entry) => toResource(groupVersion, entry)));
}

function toResource(groupVersion: string, entry: Row): Resource {
  const [version = "", group = ""] = groupVersion.split("/").reverse();
  const folder = group.split(".")[0] || "core";
  const model = `${folder}/${version}.${entry.kind}`;
  const secondary = groupVersion === "events.k8s.io/v1";
  const singular = entry.kind.toLowerCase();
  return {
    group,
    version,
    resource: entry.plural,
    singular,
    kind: entry.kind,
    listKind: `${entry.kind}List`,
    namespaced: !entry.cluster,
    shortNames: entry.short ?? [],
    categories: entry.all ? ["all"] : [],
    verbs: ALL_VERBS,
    subresources: entry.sub ?? [],
    ...(entry.scale ? { scale: SCALE } : {}),
    storage: group && !secondary ? `${entry.plural}.${group}` : entry.plural,
    storageApiVersion: secondary ? "v1" : apiVersionOf({ group, version }),
    get schema(): Schema {
      return rootSchema(model, group, version, entry.kind);
    },
    resolve: resolveModel,
    custom: false,
    get columns() {
      return columnsOf(group, entry.kind);
    },
    ...(secondary ? { convert: eventConversion } : {}),
  };
}

const roots = new Map<string, Schema>();

/** The schema of a whole object, marked with its kind. */
function rootSchema(model: string, group: string, version: string, kind: string): Schema {
  let schema = roots.get(model);
  if (!schema) {
    refTo(model);
    schema = { ...modelSchema(model), "x-kubernetes-group-version-kind": [{ group, version, kind }] };
    roots.set(model, schema);
  }
  return schema;
}
