import { type Cause, cause } from "../errors.ts";
import { asObject, at, child, deepEqual, isObject, type JsonObject, type KubeObject } from "../object.ts";
import { fill, items } from "./fields.ts";
import type { Rules } from "./rules.ts";

const bodyOf = (object: KubeObject): JsonObject => object as unknown as JsonObject;
const specOf = (object: KubeObject): JsonObject => child(bodyOf(object), "spec");

export const namespaceRules: Rules = {
  defaults(namespace) {
    fill(specOf(namespace), { finalizers: ["kubernetes"] });
    namespace.metadata.labels = { ...namespace.metadata.labels, "kubernetes.io/metadata.name": namespace.metadata.name };
    fill(bodyOf(namespace), { status: { phase: "Active" } });
  },
  /** The namespace's own finalizers are changed by `finalize` only. */
  prepare(namespace, before) {
    if (before) specOf(namespace).finalizers = at(before, "spec", "finalizers");
    return [];
  },
};

export const secretRules: Rules = {
  defaults(secret) {
    fill(bodyOf(secret), { type: "Opaque" });
    if (!isObject(secret.stringData)) return;
    const data = child(bodyOf(secret), "data");
    for (const [key, text] of Object.entries(secret.stringData)) data[key] = Buffer.from(String(text)).toString("base64");
    Reflect.deleteProperty(secret, "stringData");
  },
  validate(secret, before) {
    const changed = before && before.type !== secret.type ? [cause.invalid("type", secret.type, "field is immutable")] : [];
    return [...changed, ...checkImmutable(secret, before, ["data"]), ...checkKeys(secret, ["data"])];
  },
};

export const configMapRules: Rules = {
  validate: (map, before) => [...checkImmutable(map, before, ["data", "binaryData"]), ...checkKeys(map, ["data", "binaryData"])],
};

function checkImmutable(object: KubeObject, before: KubeObject | undefined, fields: readonly string[]): Cause[] {
  if (before?.immutable !== true) return [];
  if (object.immutable !== true) return [cause.forbidden("immutable", "field is immutable when `immutable` is set")];
  const changed = fields.filter((field) => !deepEqual(object[field], before[field]));
  return changed.map((field) => cause.forbidden(field, "field is immutable when `immutable` is set"));
}

function checkKeys(object: KubeObject, fields: readonly string[]): Cause[] {
  const keys = fields.flatMap((field) => Object.keys(asObject(object[field])).map((key) => ({ field, key })));
  const causes = keys
    .filter(({ key }) => !/^[-._a-zA-Z0-9]{1,253}$/.test(key) || key === "." || key === "..")
    .map(({ field, key }) =>
      cause.invalid(`${field}[${key}]`, key, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"),
    );
  const size = fields.reduce((sum, field) => sum + JSON.stringify(object[field] ?? "").length, 0);
  if (size > 1.4 * 1024 * 1024)
    causes.push({ reason: "FieldValueTooLong", field: "", message: "Too long: may not be more than 1048576 bytes" });
  return causes;
}

const RBAC = "rbac.authorization.k8s.io";

export const bindingRules: Rules = {
  defaults(binding) {
    fill(child(bodyOf(binding), "roleRef"), { apiGroup: RBAC });
    for (const subject of items(binding, "subjects")) fill(subject, subject.kind === "ServiceAccount" ? {} : { apiGroup: RBAC });
  },
  validate: (binding, before) =>
    before && !deepEqual(before.roleRef, binding.roleRef) ? [cause.invalid("roleRef", binding.roleRef, "cannot change roleRef")] : [],
};

export const endpointsRules: Rules = {
  defaults(endpoints) {
    for (const subset of items(endpoints, "subsets")) for (const port of items(subset, "ports")) fill(port, { protocol: "TCP" });
  },
};

export const storageClassRules: Rules = {
  defaults: (object) => fill(bodyOf(object), { reclaimPolicy: "Delete", volumeBindingMode: "Immediate" }),
};

export const priorityClassRules: Rules = {
  defaults: (object) => fill(bodyOf(object), { preemptionPolicy: "PreemptLowerPriority" }),
};

export const claimRules: Rules = {
  defaults(claim) {
    fill(specOf(claim), { volumeMode: "Filesystem" });
    fill(bodyOf(claim), { status: { phase: "Pending" } });
  },
};

export const volumeRules: Rules = {
  defaults(volume) {
    fill(specOf(volume), { persistentVolumeReclaimPolicy: "Retain", volumeMode: "Filesystem" });
    fill(bodyOf(volume), { status: { phase: "Pending" } });
  },
};

export const autoscalerRules: Rules = { defaults: (object) => fill(specOf(object), { minReplicas: 1 }) };
