import type {
  DaemonSet as AppsDaemonSet,
  Deployment as AppsDeployment,
  ReplicaSet as AppsReplicaSet,
  StatefulSet as AppsStatefulSet,
} from "kubernetes-types/apps/v1.js";
import type { Job as BatchJob } from "kubernetes-types/batch/v1.js";
import type * as core from "kubernetes-types/core/v1.js";
import type { ObjectMeta } from "kubernetes-types/meta/v1.js";

/** The metadata of an object that the API server keeps: what it fills in is there. */
export interface Meta extends Omit<ObjectMeta, "name" | "uid" | "namespace"> {
  name: string;
  /** Empty for cluster-wide objects. */
  namespace: string;
  uid: string;
}

type Stored<T> = Omit<T, "metadata" | "spec" | "status"> & {
  apiVersion: string;
  kind: string;
  metadata: Meta;
  spec: T extends { spec?: infer Spec } ? NonNullable<Spec> : undefined;
  status?: T extends { status?: infer Status } ? NonNullable<Status> : undefined;
};

export type Pod = Stored<core.Pod>;
export type Node = Stored<core.Node>;
export type Service = Stored<core.Service>;
export type Deployment = Stored<AppsDeployment>;
export type ReplicaSet = Stored<AppsReplicaSet>;
export type DaemonSet = Stored<AppsDaemonSet>;
export type StatefulSet = Stored<AppsStatefulSet>;
export type Job = Stored<BatchJob>;
export type ConfigMap = Omit<core.ConfigMap, "metadata"> & { metadata: Meta };
export type Secret = Omit<core.Secret, "metadata"> & { metadata: Meta };

/** Any object, when only its metadata matters. */
export interface AnyObject {
  apiVersion: string;
  kind: string;
  metadata: Meta;
}

/** `namespace/name`, or the name alone for cluster-wide objects. */
export function keyOf(object: { readonly metadata: { readonly name: string; readonly namespace?: string | undefined } }): string {
  return object.metadata.namespace ? `${object.metadata.namespace}/${object.metadata.name}` : object.metadata.name;
}

/** The two halves of `keyOf`. */
export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf("/");
  return slash < 0 ? { namespace: "", name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Whether the pod's Ready condition is true. */
export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ?? false;
}

/** Whether the pod has ended and will not run again. */
export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Whether the pod counts for its controller: neither finished nor on its way out. */
export function isActive(pod: Pod): boolean {
  return !isFinished(pod) && !pod.metadata.deletionTimestamp;
}
