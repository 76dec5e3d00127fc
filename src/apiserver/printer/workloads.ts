import { asArray, asObject, at, type Json, type KubeObject } from "../object.ts";
import { age, ageColumn, type Column, column, humanDuration, nameColumn, wide } from "./columns.ts";
import { POD_COLUMNS } from "./pods.ts";
import { selectorText } from "./selector.ts";

const number = (value: unknown): number => Number(value ?? 0);
const count = (name: string, ...path: readonly string[]): Column =>
  column(name, (object) => number(at(object, ...path)), { type: "integer" });

/** Containers, images and selector of the template at a path: the wide columns of every workload. */
function templateColumns(templatePath: readonly string[], selectorPath: readonly string[] | null = ["spec", "selector"]): Column[] {
  const containers = (object: KubeObject) => asArray(at(object, ...templatePath, "spec", "containers")).map(asObject);
  const columns = [
    wide("Containers", (object) =>
      containers(object)
        .map(({ name }) => name)
        .join(","),
    ),
    wide("Images", (object) =>
      containers(object)
        .map(({ image }) => image)
        .join(","),
    ),
  ];
  if (selectorPath) columns.push(wide("Selector", (object) => selectorText(at(object, ...selectorPath))));
  return columns;
}

const TEMPLATE = ["spec", "template"];
const ready = (object: KubeObject): string => `${number(at(object, "status", "readyReplicas"))}/${number(at(object, "spec", "replicas"))}`;

function jobStatus(job: KubeObject): string {
  const conditions = asArray(at(job, "status", "conditions")).map(asObject);
  const has = (type: string) => conditions.some((condition) => condition.type === type && condition.status === "True");
  if (has("Complete")) return "Complete";
  if (has("Failed")) return "Failed";
  if (job.metadata.deletionTimestamp) return "Terminating";
  if (has("Suspended")) return "Suspended";
  if (has("FailureTarget")) return "FailureTarget";
  return has("SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
}

function completions(job: KubeObject): string {
  const done = number(at(job, "status", "succeeded"));
  const wanted = at(job, "spec", "completions");
  if (wanted !== undefined) return `${done}/${number(wanted)}`;
  const parallel = number(at(job, "spec", "parallelism"));
  return parallel > 1 ? `${done}/1 of ${parallel}` : `${done}/1`;
}

function jobDuration(job: KubeObject, now: Date): Json {
  const start = at(job, "status", "startTime");
  if (typeof start !== "string") return "";
  const end = at(job, "status", "completionTime");
  return humanDuration((typeof end === "string" ? Date.parse(end) : now.getTime()) - Date.parse(start));
}

const maybeAge = (value: unknown, now: Date): string => (typeof value === "string" ? age(value, now) : "<none>");

export const WORKLOAD_COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  "/Pod": POD_COLUMNS,
  "apps/Deployment": [
    nameColumn,
    column("Ready", ready),
    count("Up-to-date", "status", "updatedReplicas"),
    count("Available", "status", "availableReplicas"),
    ageColumn,
    ...templateColumns(TEMPLATE),
  ],
  "apps/ReplicaSet": [
    nameColumn,
    count("Desired", "spec", "replicas"),
    count("Current", "status", "replicas"),
    count("Ready", "status", "readyReplicas"),
    ageColumn,
    ...templateColumns(TEMPLATE),
  ],
  "/ReplicationController": [
    nameColumn,
    count("Desired", "spec", "replicas"),
    count("Current", "status", "replicas"),
    count("Ready", "status", "readyReplicas"),
    ageColumn,
    ...templateColumns(TEMPLATE),
  ],
  "apps/DaemonSet": [
    nameColumn,
    count("Desired", "status", "desiredNumberScheduled"),
    count("Current", "status", "currentNumberScheduled"),
    count("Ready", "status", "numberReady"),
    count("Up-to-date", "status", "updatedNumberScheduled"),
    count("Available", "status", "numberAvailable"),
    column("Node Selector", (object) => selectorText(at(object, "spec", "template", "spec", "nodeSelector"))),
    ageColumn,
    ...templateColumns(TEMPLATE),
  ],
  "apps/StatefulSet": [nameColumn, column("Ready", ready), ageColumn, ...templateColumns(TEMPLATE, null)],
  "apps/ControllerRevision": [
    nameColumn,
    column("Controller", (object) => {
      const owner = object.metadata.ownerReferences?.find(({ controller }) => controller);
      const group = owner?.apiVersion.includes("/") ? `.${owner.apiVersion.split("/")[0]}` : "";
      return owner ? `${owner.kind.toLowerCase()}${group}/${owner.name}` : "<none>";
    }),
    column("Revision", (object) => String(object.revision ?? 0)),
    ageColumn,
  ],
  "/PodTemplate": [
    nameColumn,
    ...templateColumns(["template"], ["template", "metadata", "labels"]).map(
      (each): Column => ({ ...each, priority: 0, name: each.name === "Selector" ? "Pod Labels" : each.name }),
    ),
  ],
  "batch/Job": [
    nameColumn,
    column("Status", jobStatus),
    column("Completions", completions),
    column("Duration", jobDuration),
    ageColumn,
    ...templateColumns(TEMPLATE),
  ],
  "batch/CronJob": [
    nameColumn,
    column("Schedule", (object) => String(at(object, "spec", "schedule") ?? "")),
    column("Timezone", (object) => String(at(object, "spec", "timeZone") ?? "<none>")),
    column("Suspend", (object) => (at(object, "spec", "suspend") === true ? "True" : "False")),
    column("Active", (object) => asArray(at(object, "status", "active")).length, { type: "integer" }),
    column("Last Schedule", (object, now) => maybeAge(at(object, "status", "lastScheduleTime"), now)),
    ageColumn,
    ...templateColumns(["spec", "jobTemplate", "spec", "template"], ["spec", "jobTemplate", "spec", "selector"]),
  ],
  "autoscaling/HorizontalPodAutoscaler": [
    nameColumn,
    column(
      "Reference",
      (object) => `${String(at(object, "spec", "scaleTargetRef", "kind"))}/${String(at(object, "spec", "scaleTargetRef", "name"))}`,
    ),
    column("Targets", () => "<unknown>"),
    column("MinPods", (object) => String(at(object, "spec", "minReplicas") ?? "<unset>")),
    count("MaxPods", "spec", "maxReplicas"),
    count("Replicas", "status", "currentReplicas"),
    ageColumn,
  ],
  "policy/PodDisruptionBudget": [
    nameColumn,
    column("Min Available", (object) => String(at(object, "spec", "minAvailable") ?? "N/A")),
    column("Max Unavailable", (object) => String(at(object, "spec", "maxUnavailable") ?? "N/A")),
    count("Allowed Disruptions", "status", "disruptionsAllowed"),
    ageColumn,
  ],
};
