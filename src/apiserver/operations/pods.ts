import { ApiError, conflict, notFound } from "../errors.ts";
import { asArray, asObject, at, clone, type KubeObject, objectKey, timestamp } from "../object.ts";
import type { Resource } from "../resources/resource.ts";
import { matchesLabelSelector } from "../selectors.ts";
import type { Core, DeleteOptions } from "./core.ts";
import { deleteObject } from "./delete.ts";
import type { Target } from "./patch.ts";

/** `pods/binding`: puts a pod on a node. A pod that is already bound is refused with 409. */
export function bindPod(core: Core, resource: Resource, target: Target, binding: unknown): void {
  const pod = findPod(core, resource, target);
  const node = at(binding, "target", "name");
  if (typeof node !== "string" || node === "")
    throw new ApiError(422, "Invalid", `Binding ${JSON.stringify(target.name)} is invalid: target.name: Required value`);
  const bound = at(pod, "spec", "nodeName");
  if (bound)
    throw conflict(
      { group: "", resource: "pods/binding" },
      target.name,
      `pod ${target.name} is already assigned to node ${JSON.stringify(bound)}`,
    );
  if (pod.metadata.deletionTimestamp)
    throw conflict(
      { group: "", resource: "pods/binding" },
      target.name,
      `pod ${target.name} is being deleted, cannot be assigned to a host`,
    );
  const next = clone(pod);
  next.spec = { ...asObject(next.spec), nodeName: node };
  const annotations = asObject(at(binding, "metadata", "annotations")) as Record<string, string>;
  if (Object.keys(annotations).length > 0) next.metadata.annotations = { ...next.metadata.annotations, ...annotations };
  const status = asObject(next.status);
  const others = asArray(status.conditions).filter((each) => at(each, "type") !== "PodScheduled");
  const scheduled = { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: timestamp(core.now()) };
  next.status = { ...status, conditions: [...others, scheduled] };
  core.store.put(resource.storage, next);
}

/** `pods/eviction`: deletes a pod unless a PodDisruptionBudget forbids it at the moment (429). */
export function evictPod(core: Core, resource: Resource, target: Target, options: DeleteOptions): void {
  const pod = findPod(core, resource, target);
  for (const budget of core.store.list("poddisruptionbudgets.policy", target.namespace)) {
    if (!matchesLabelSelector(at(budget, "spec", "selector"), pod.metadata.labels)) continue;
    if (Number(at(budget, "status", "disruptionsAllowed") ?? 0) > 0 || at(pod, "status", "phase") === "Pending") continue;
    throw new ApiError(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [
        { reason: "DisruptionBudget", field: "", message: `The disruption budget ${budget.metadata.name} does not allow an eviction now` },
      ],
      retryAfterSeconds: 5,
    });
  }
  deleteObject(core, resource, target.namespace, target.name, options);
}

function findPod(core: Core, resource: Resource, target: Target): KubeObject {
  const pod = core.store.get(resource.storage, objectKey(target.namespace, target.name));
  if (!pod) throw notFound(resource, target.name);
  return pod;
}
