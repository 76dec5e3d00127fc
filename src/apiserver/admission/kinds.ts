import { definitionRules } from "./definitions.ts";
import { endpointSliceRules } from "./endpoint-slices.ts";
import { networkPolicyRules } from "./network-policies.ts";
import * as others from "./others.ts";
import { podRules } from "./pods.ts";
import type { Rules } from "./rules.ts";
import { serviceRules } from "./services.ts";
import * as workloads from "./workloads.ts";

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
