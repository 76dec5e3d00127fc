import type { Cause } from "../errors.ts";
import type { KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { definitionRules } from "./definitions.ts";
import { endpointSliceRules } from "./endpoint-slices.ts";
import { networkPolicyRules } from "./network-policies.ts";
import * as others from "./others.ts";
import { podRules } from "./pods.ts";
import { serviceRules } from "./services.ts";
import * as workloads from "./workloads.ts";

/** What a kind does beyond its schema. Objects are mutable here and in their stored form. */
export interface Rules {
  /** First step of an update: clears what the object kept from `before` though it may not have it any more. */
  drop?(object: KubeObject, before: KubeObject): void;
  /** Sets what the author left out. Idempotent; runs on every write. */
  defaults?(object: KubeObject, core: Core): void;
  /** Every rule that the object breaks; `before` is absent when it is created. */
  validate?(object: KubeObject, before: KubeObject | undefined, core: Core): Cause[];
  /** Last step before storing: allocations and what depends on other objects. Not for writes of a subresource. */
  prepare?(object: KubeObject, before: KubeObject | undefined, core: Core): Cause[];
}

const NONE: Rules = {};

const TABLE: Readonly<Record<string, Rules>> = {
  pods: podRules,
  services: serviceRules,
  namespaces: others.namespaceRules,
  secrets: others.secretRules,
  configmaps: others.configMapRules,
  endpoints: others.endpointsRules,
  persistentvolumeclaims: others.claimRules,
  persistentvolumes: others.volumeRules,
  replicationcontrollers: workloads.replicationControllerRules,
  "deployments.apps": workloads.deploymentRules,
  "replicasets.apps": workloads.replicaSetRules,
  "daemonsets.apps": workloads.daemonSetRules,
  "statefulsets.apps": workloads.statefulSetRules,
  "jobs.batch": workloads.jobRules,
  "cronjobs.batch": workloads.cronJobRules,
  "networkpolicies.networking.k8s.io": networkPolicyRules,
  "endpointslices.discovery.k8s.io": endpointSliceRules,
  "rolebindings.rbac.authorization.k8s.io": others.bindingRules,
  "clusterrolebindings.rbac.authorization.k8s.io": others.bindingRules,
  "storageclasses.storage.k8s.io": others.storageClassRules,
  "priorityclasses.scheduling.k8s.io": others.priorityClassRules,
  "horizontalpodautoscalers.autoscaling": others.autoscalerRules,
  "customresourcedefinitions.apiextensions.k8s.io": definitionRules,
};

/** The rules of a resource, by its key in the store. */
export function rulesOf(storage: string): Rules {
  return TABLE[storage] ?? NONE;
}
