import { type Cause, cause } from "../errors.ts";
import { asArray, asObject, at, child, deepEqual, type JsonObject, type KubeObject, objectKey } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { nameSuffix } from "../operations/metadata.ts";
import { fill, items } from "./fields.ts";
import { checkPodSpec, fixedPart } from "./podcheck.ts";
import { defaultPodSpec } from "./podspec.ts";
import type { Rules } from "./rules.ts";

export const podRules: Rules = {
  defaults(pod) {
    const spec = child(pod as unknown as JsonObject, "spec");
    defaultPodSpec(spec);
    fill(spec, { enableServiceLinks: true });
    for (const container of [...items(spec, "containers"), ...items(spec, "initContainers")]) defaultRequests(container);
  },
  validate(pod, before) {
    const causes = checkPodSpec(asObject(pod.spec), "spec");
    if (!before) return causes;
    const bound = at(before, "spec", "nodeName");
    if (deepEqual(fixedPart(pod.spec), fixedPart(before.spec)) && (!bound || bound === at(pod, "spec", "nodeName"))) return causes;
    const message =
      "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations) and `spec.terminationGracePeriodSeconds`";
    return [...causes, cause.forbidden("spec", message)];
  },
  prepare(pod, before, core) {
    if (before) return [];
    const spec = asObject(pod.spec);
    addTolerations(spec);
    pod.status = { phase: "Pending", qosClass: qosClass(spec) };
    return [...setPriority(spec, core), ...useServiceAccount(pod, spec, core)];
  },
};

/** Requests default to limits. */
function defaultRequests(container: JsonObject): void {
  const resources = asObject(container.resources);
  const limits = asObject(resources.limits);
  if (Object.keys(limits).length > 0) fill(child(resources, "requests"), limits);
}

/** Pods stay five minutes on a node that is not ready, as the DefaultTolerationSeconds admission gives them. */
function addTolerations(spec: JsonObject): void {
  const tolerations = [...asArray(spec.tolerations)];
  for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) {
    const covered = tolerations.some(
      (each) => (at(each, "key") === key || !at(each, "key")) && ["NoExecute", undefined, ""].includes(at(each, "effect") as string),
    );
    if (!covered) tolerations.push({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 });
  }
  spec.tolerations = tolerations;
}

function setPriority(spec: JsonObject, core: Core): Cause[] {
  const name = spec.priorityClassName;
  fill(spec, { preemptionPolicy: "PreemptLowerPriority" });
  if (typeof name !== "string" || name === "") {
    fill(spec, { priority: 0 });
    return [];
  }
  const found = core.store.get("priorityclasses.scheduling.k8s.io", name);
  if (!found) return [cause.forbidden("spec.priorityClassName", `no PriorityClass with name ${name} was found`)];
  spec.priority = found.value;
  return [];
}

const TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Names the account and mounts its token, the authority and the namespace where containers expect them. */
function useServiceAccount(pod: KubeObject, spec: JsonObject, core: Core): Cause[] {
  fill(spec, { serviceAccountName: "default" });
  spec.serviceAccount = spec.serviceAccountName;
  const name = String(spec.serviceAccountName);
  const account = core.store.get("serviceaccounts", objectKey(pod.metadata.namespace, name));
  if (!account)
    return [
      cause.forbidden(
        "spec.serviceAccountName",
        `error looking up service account ${pod.metadata.namespace}/${name}: serviceaccount ${JSON.stringify(name)} not found`,
      ),
    ];
  const wanted = spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
  if (!wanted || items(spec, "volumes").some((volume) => String(volume.name).startsWith("kube-api-access-"))) return [];
  const volume = `kube-api-access-${nameSuffix()}`;
  const containers = [...items(spec, "containers"), ...items(spec, "initContainers")];
  const without = containers.filter((container) => !items(container, "volumeMounts").some((mount) => mount.mountPath === TOKEN_PATH));
  if (without.length === 0) return [];
  for (const container of without) {
    container.volumeMounts = [...asArray(container.volumeMounts), { name: volume, readOnly: true, mountPath: TOKEN_PATH }];
  }
  spec.volumes = [...asArray(spec.volumes), { name: volume, projected: tokenProjection() }];
  return [];
}

const tokenProjection = (): JsonObject => ({
  defaultMode: 0o644,
  sources: [
    { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
    { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
    { downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] } },
  ],
});

function qosClass(spec: JsonObject): string {
  const resources = [...items(spec, "containers"), ...items(spec, "initContainers")].map((container) => asObject(container.resources));
  const named = resources.flatMap(({ requests, limits }) => [...Object.keys(asObject(requests)), ...Object.keys(asObject(limits))]);
  if (!named.some((name) => name === "cpu" || name === "memory")) return "BestEffort";
  const guaranteed = resources.every(({ requests, limits }) =>
    ["cpu", "memory"].every(
      (name) => at(limits, name) !== undefined && deepEqual(at(limits, name), at(requests, name) ?? at(limits, name)),
    ),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}
