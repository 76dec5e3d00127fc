import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import type { Resource } from "#k8s/resources.ts";
import type { Condition, PolicyObject } from "#k8s/types.ts";
import { reviewPolicy } from "#policy/lint/review.ts";

const VALID = "Valid";
/** A condition's message may have at most this many characters (Kubernetes' own limit is 32768). */
const MESSAGE_LIMIT = 4096;

/** What the `Valid` condition of this policy has to say: every error, or that it is fine with its warnings. */
export function validCondition(policy: PolicyObject, now: Date): Condition {
  const { errors, warnings: notes } = reviewPolicy(policy);
  const message =
    errors.length > 0
      ? `Policy validation failed: ${errors.join("; ")}`
      : notes.length > 0
        ? `Policy validation succeeded, with warnings: ${notes.join("; ")}`
        : "Policy validation succeeded";
  return {
    type: VALID,
    status: errors.length > 0 ? "False" : "True",
    ...(errors.length > 0 ? { reason: "Invalid" } : notes.length > 0 ? { reason: "Warning" } : { reason: "Valid" }),
    message: message.length > MESSAGE_LIMIT ? `${message.slice(0, MESSAGE_LIMIT - 1)}…` : message,
    lastTransitionTime: now.toISOString().replace(/\.\d+Z$/, "Z"),
  };
}

/** Writes the condition when it says something else than the object's. Gone or changed meanwhile: the next event brings it back here. */
export async function updateValidCondition(
  cluster: Cluster,
  resource: Resource<PolicyObject>,
  policy: PolicyObject,
  now: Date,
): Promise<boolean> {
  const wanted = validCondition(policy, now);
  const conditions = policy.status?.conditions ?? [];
  const found = conditions.find(({ type }) => type === VALID);
  if (found?.status === wanted.status && found.message === wanted.message) return false;
  if (found?.status === wanted.status && found.lastTransitionTime) wanted.lastTransitionTime = found.lastTransitionTime;
  const others = conditions.filter(({ type }) => type !== VALID);
  try {
    await cluster.patch(resource, policy.metadata, "merge", { status: { conditions: [...others, wanted] } }, { subresource: "status" });
    return true;
  } catch (thrown) {
    if (isNotFound(thrown) || isConflict(thrown)) return false;
    throw thrown;
  }
}
