import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
  NETWORK_POLICIES,
} from "#k8s/resources.ts";
import type { LabDeps } from "#lab/daemon.ts";
import { reviewPolicy } from "#policy/lint/review.ts";
import { lintSubject } from "#policy/lint/selectors.ts";
import { podsOf } from "#policy/lint/subjects.ts";
import { objectOf, textOf } from "#policy/parse/fields.ts";
import { parsePolicy, policyKinds } from "#policy/parse/parse.ts";
import { type ParsedPolicy, scopeAudit } from "#policy/rule.ts";
import { memorySource } from "#policy/world/objects.ts";
import { configOf } from "#policy/world/settings.ts";
import { createWorld } from "#policy/world/world.ts";

type LabReview = NonNullable<LabDeps["review"]>;
type Stored = Parameters<LabReview>[1];

const resources = [CILIUM_NETWORK_POLICIES, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES];

/** Authors of policies hear from the engine what the API server's schema can not know, the cluster's other policies in mind. */
export function createReview(): LabReview {
  const surroundings = createSurroundings();
  return (object, stored) => {
    const fields = objectOf(object);
    const { template } = objectOf(fields.spec);
    if (fields.kind === "Namespace" || fields.kind === "Pod" || template !== undefined) {
      const annotated = [fields, objectOf(template)].map(({ metadata }) => objectOf(objectOf(metadata).annotations));
      return { noun: "object", problems: [], warnings: annotated.flatMap((annotations) => scopeAudit(annotations).problem ?? []) };
    }
    if (!policyKinds.includes(textOf(fields.kind))) return { noun: "object", problems: [], warnings: [] };
    const namespace = textOf(objectOf(fields.metadata).namespace);
    const { issues, warnings } = reviewPolicy(object, surroundings(stored, namespace));
    const problems = issues.map(({ path, message }) => ({ field: path, message }));
    return { noun: "policy", problems, warnings: [...warnings, ...subjectWarnings(object, stored, namespace)] };
  };
}

/** Pods that a policy is compared with: more take longer than a write may. */
const MAX_PODS = 500;

/** That a policy selects none of the pods that are there: the failure that nobody sees. Silent where there are none yet. */
function subjectWarnings(object: unknown, stored: Stored, namespace: string): string[] {
  const pods = stored("pods", namespace);
  if (pods.length === 0 || pods.length > MAX_PODS) return [];
  const config = stored("configmaps", "kube-system").map((one) => ({ ...one, kind: "ConfigMap" }));
  const around = [
    ...pods.map((pod) => ({ ...pod, kind: "Pod" })),
    ...stored("namespaces").map((one) => ({ ...one, kind: "Namespace" })),
    ...config,
  ];
  const world = createWorld([objectOf(object), ...around].map((one) => ({ object: one, source: memorySource("cluster") })));
  const known = podsOf(world);
  return world.policies.flatMap(({ parsed }) =>
    [...lintSubject(world, parsed, known)].map(({ path, message }) => (path === undefined ? message : `${path}: ${message}`)),
  );
}

/** The policies that may meet one of this namespace (empty: of any), each read once, and the agents' settings. */
function createSurroundings() {
  let read = new WeakMap<object, ParsedPolicy>();
  let config: object | undefined;
  return (stored: Stored, namespace: string) => {
    const found = stored("configmaps", "kube-system").find((one) => textOf(objectOf(objectOf(one).metadata).name) === "cilium-config");
    if (found !== config) [read, config] = [new WeakMap(), found];
    const { settings } = configOf(
      found === undefined ? [] : [{ object: { ...found, kind: "ConfigMap" }, source: memorySource("cluster") }],
    );
    const others = resources.flatMap(({ plural, group, kind, namespaced }) =>
      stored(`${plural}.${group}`, namespaced ? namespace : "").map((object) => {
        const parsed = read.get(object) ?? parsePolicy({ ...object, kind }, settings);
        read.set(object, parsed);
        return parsed;
      }),
    );
    return { others, settings };
  };
}
