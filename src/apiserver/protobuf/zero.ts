/**
 * Go writes plain fields even when they are zero or false; only for pointers does a zero say something. The wire does not
 * tell which is which, so here are the fields of numbers and booleans whose zero was meant.
 */
const POINTERS: ReadonlySet<string> = new Set([
  ...["activeDeadlineSeconds", "backoffLimit", "completions", "defaultMode", "deletionGracePeriodSeconds", "expirationSeconds"],
  ...["failedJobsHistoryLimit", "fsGroup", "gracePeriodSeconds", "leaseDurationSeconds", "mode", "parallelism", "partition"],
  ...["priority", "progressDeadlineSeconds", "revisionHistoryLimit", "runAsGroup", "runAsUser", "startingDeadlineSeconds"],
  ...["successfulJobsHistoryLimit", "terminationGracePeriodSeconds", "tolerationSeconds", "ttlSecondsAfterFinished", "value"],
  ...["allocateLoadBalancerNodePorts", "allowPrivilegeEscalation", "automountServiceAccountToken", "blockOwnerDeletion", "controller"],
  ...["enableServiceLinks", "hostUsers", "immutable", "manualSelector", "optional", "orphanDependents", "privileged", "ready"],
  ...["readOnlyRootFilesystem", "runAsNonRoot", "setHostnameAsFQDN", "shareProcessNamespace", "suspend"],
  // Not pointers, but JSON always shows them too.
  ...["seconds", "nanos", "allowed", "globalDefault"],
]);

export function keepsZero(message: string, field: string): boolean {
  return POINTERS.has(field) || (field === "replicas" && message.endsWith("Spec"));
}
