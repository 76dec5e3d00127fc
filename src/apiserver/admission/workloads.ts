import { type Cause, cause } from "../errors.ts";
import { asObject, at, child, deepEqual, isObject, type JsonObject, type KubeObject } from "../object.ts";
import { matchesLabelSelector } from "../selectors.ts";
import { fill } from "./fields.ts";
import { checkPodSpec } from "./podcheck.ts";
import { defaultPodSpec, templateSpec } from "./podspec.ts";
import type { Rules } from "./rules.ts";

const specOf = (object: KubeObject): JsonObject => child(object as unknown as JsonObject, "spec");

/** Rules of a kind that makes pods from a template which its selector must match. */
function workload(defaults: (spec: JsonObject) => void): Rules {
  return {
    defaults(object) {
      const spec = specOf(object);
      defaults(spec);
      defaultPodSpec(templateSpec(spec));
    },
    validate(object, before) {
      const spec = asObject(object.spec);
      return [
        ...checkSelector(spec, before),
        ...checkReplicas(spec),
        ...checkPodSpec(templateSpec(specOf(object)), "spec.template.spec"),
        ...alwaysRestarts(spec),
      ];
    },
  };
}

function checkSelector(spec: JsonObject, before: KubeObject | undefined): Cause[] {
  const { selector, template } = spec;
  if (!isObject(selector)) return [cause.required("spec.selector")];
  if (Object.keys(selector).length === 0) return [cause.invalid("spec.selector", selector, "empty selector is invalid for a workload")];
  if (before && !deepEqual(at(before, "spec", "selector"), selector))
    return [cause.invalid("spec.selector", selector, "field is immutable")];
  const labels = asObject(at(template, "metadata", "labels")) as Record<string, string>;
  return matchesLabelSelector(selector, labels)
    ? []
    : [cause.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")];
}

function checkReplicas({ replicas }: JsonObject): Cause[] {
  return typeof replicas === "number" && replicas < 0
    ? [cause.invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
    : [];
}

function alwaysRestarts(spec: JsonObject): Cause[] {
  const policy = at(spec, "template", "spec", "restartPolicy");
  return policy === "Always" ? [] : [cause.unsupported("spec.template.spec.restartPolicy", policy, ["Always"])];
}

export const deploymentRules = workload((spec) => {
  fill(spec, { replicas: 1, strategy: {}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
  const strategy = child(spec, "strategy");
  fill(strategy, { type: "RollingUpdate" });
  if (strategy.type === "RollingUpdate") fill(child(strategy, "rollingUpdate"), { maxUnavailable: "25%", maxSurge: "25%" });
});

export const replicaSetRules = workload((spec) => fill(spec, { replicas: 1 }));

export const daemonSetRules = workload((spec) => {
  fill(spec, { revisionHistoryLimit: 10 });
  const strategy = child(spec, "updateStrategy");
  fill(strategy, { type: "RollingUpdate" });
  if (strategy.type === "RollingUpdate") fill(child(strategy, "rollingUpdate"), { maxUnavailable: 1, maxSurge: 0 });
});

export const statefulSetRules = workload((spec) => {
  fill(spec, { replicas: 1, podManagementPolicy: "OrderedReady", revisionHistoryLimit: 10 });
  fill(child(spec, "persistentVolumeClaimRetentionPolicy"), { whenDeleted: "Retain", whenScaled: "Retain" });
  const strategy = child(spec, "updateStrategy");
  fill(strategy, { type: "RollingUpdate" });
  if (strategy.type === "RollingUpdate") fill(child(strategy, "rollingUpdate"), { partition: 0 });
});

export const replicationControllerRules: Rules = {
  defaults(object) {
    const spec = specOf(object);
    fill(spec, { replicas: 1 });
    defaultPodSpec(templateSpec(spec));
    fill(spec, { selector: { ...asObject(at(spec, "template", "metadata", "labels")) } });
  },
  validate: (object) => checkPodSpec(asObject(at(object, "spec", "template", "spec")), "spec.template.spec"),
};

function defaultJobSpec(spec: JsonObject): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  fill(spec, {
    parallelism: 1,
    backoffLimit: 6,
    completionMode: "NonIndexed",
    suspend: false,
    podReplacementPolicy: "TerminatingOrFailed",
  });
  defaultPodSpec(templateSpec(spec));
}

const NEVER_OR_FAILURE = ["OnFailure", "Never"];

function checkJobTemplate(spec: unknown, path: string): Cause[] {
  const template = asObject(at(spec, "template", "spec"));
  const causes = checkPodSpec(template, `${path}.template.spec`);
  const policy = template.restartPolicy;
  return NEVER_OR_FAILURE.includes(String(policy))
    ? causes
    : [...causes, cause.unsupported(`${path}.template.spec.restartPolicy`, policy, NEVER_OR_FAILURE)];
}

export const jobRules: Rules = {
  defaults: (object) => defaultJobSpec(specOf(object)),
  validate(object, before) {
    const causes = checkJobTemplate(object.spec, "spec");
    if (before && !deepEqual(at(before, "spec", "template"), at(object, "spec", "template"))) {
      causes.push(cause.invalid("spec.template", "…", "field is immutable"));
    }
    return causes;
  },
  /** A job's pods are told apart by its uid, so the selector is the server's to make. */
  prepare(object, before) {
    const spec = specOf(object);
    if (before) {
      spec.selector = at(before, "spec", "selector");
      return [];
    }
    if (spec.manualSelector === true) return [];
    const { uid, name } = object.metadata;
    spec.selector = { matchLabels: { "batch.kubernetes.io/controller-uid": uid } };
    fill(child(child(child(spec, "template"), "metadata"), "labels"), {
      "batch.kubernetes.io/controller-uid": uid,
      "batch.kubernetes.io/job-name": name,
      "controller-uid": uid,
      "job-name": name,
    });
    return [];
  },
};

export const cronJobRules: Rules = {
  defaults(object) {
    const spec = specOf(object);
    fill(spec, { concurrencyPolicy: "Allow", suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 });
    const template = child(child(spec, "jobTemplate"), "spec");
    defaultPodSpec(templateSpec(template));
  },
  validate(object) {
    const spec = asObject(object.spec);
    const causes = checkJobTemplate(at(spec, "jobTemplate", "spec"), "spec.jobTemplate.spec");
    const fields = String(spec.schedule ?? "")
      .trim()
      .split(/\s+/);
    if (fields.length !== 5 && !/^@\w+/.test(String(spec.schedule)))
      causes.push(cause.invalid("spec.schedule", spec.schedule, `expected exactly 5 fields, found ${fields.length}: [${spec.schedule}]`));
    return causes;
  },
};
