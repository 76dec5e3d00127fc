import { asArray, asObject, at, type KubeObject } from "../object.ts";
import { age, ageColumn, type Column, column, createdColumn, nameColumn, wide } from "./columns.ts";

const size = (value: unknown): number => Object.keys(asObject(value)).length;

/** Events are shown newest fact first; a series is shown with how often and since when. */
function lastSeen(event: KubeObject, now: Date): string {
  const series = at(event, "series", "lastObservedTime");
  const count = Number(at(event, "series", "count") ?? event.count ?? event.deprecatedCount ?? 1);
  const first = firstTime(event);
  const last = series ?? event.lastTimestamp ?? event.deprecatedLastTimestamp ?? first;
  return count > 1 ? `${age(last, now)} (x${count} over ${age(first, now)})` : age(last, now);
}

const firstTime = (event: KubeObject): unknown =>
  event.firstTimestamp ?? event.deprecatedFirstTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp;

const subject = (event: KubeObject) => asObject(event.involvedObject ?? event.regarding);

function source(event: KubeObject): string {
  const { component, host } = asObject(event.source ?? event.deprecatedSource);
  const name = component ?? event.reportingComponent ?? event.reportingController ?? "";
  return host ? `${String(name)}, ${String(host)}` : String(name);
}

const EVENT_COLUMNS: readonly Column[] = [
  column("Last Seen", lastSeen),
  column("Type", (event) => String(event.type ?? "")),
  column("Reason", (event) => String(event.reason ?? "")),
  column("Object", (event) => `${String(subject(event).kind ?? "").toLowerCase()}/${String(subject(event).name ?? "")}`),
  wide("Subobject", (event) => String(subject(event).fieldPath ?? "")),
  wide("Source", source),
  column("Message", (event) => String(event.message ?? event.note ?? "").trim()),
  wide("First Seen", (event, now) => age(firstTime(event), now)),
  wide("Count", (event) => String(at(event, "series", "count") ?? event.count ?? event.deprecatedCount ?? 1)),
  { ...nameColumn, priority: 1 },
];

const subjects = (binding: KubeObject, kind: string): string =>
  asArray(binding.subjects)
    .map(asObject)
    .filter((each) => each.kind === kind)
    .map(({ namespace, name }) => (kind === "ServiceAccount" ? `${String(namespace ?? "")}/${String(name)}` : String(name)))
    .join(", ");

const BINDING_COLUMNS: readonly Column[] = [
  nameColumn,
  column("Role", (binding) => `${String(at(binding, "roleRef", "kind"))}/${String(at(binding, "roleRef", "name"))}`),
  ageColumn,
  wide("Users", (binding) => subjects(binding, "User")),
  wide("Groups", (binding) => subjects(binding, "Group")),
  wide("ServiceAccounts", (binding) => subjects(binding, "ServiceAccount")),
];

const webhooks: Column = column("Webhooks", (object) => asArray(object.webhooks).length, { type: "integer" });

export const CONFIG_COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  "/ConfigMap": [nameColumn, column("Data", (map) => String(size(map.data) + size(map.binaryData))), ageColumn],
  "/Secret": [
    nameColumn,
    column("Type", (secret) => String(secret.type ?? "")),
    column("Data", (secret) => size(secret.data), { type: "integer" }),
    ageColumn,
  ],
  "/ServiceAccount": [nameColumn, column("Secrets", (account) => asArray(account.secrets).length, { type: "integer" }), ageColumn],
  "/Event": EVENT_COLUMNS,
  "events.k8s.io/Event": EVENT_COLUMNS,
  "/LimitRange": [nameColumn, createdColumn],
  "/ResourceQuota": [
    nameColumn,
    column("Request", (quota) => used(quota, false)),
    column("Limit", (quota) => used(quota, true)),
    ageColumn,
  ],
  "rbac.authorization.k8s.io/Role": [nameColumn, createdColumn],
  "rbac.authorization.k8s.io/ClusterRole": [nameColumn, createdColumn],
  "rbac.authorization.k8s.io/RoleBinding": BINDING_COLUMNS,
  "rbac.authorization.k8s.io/ClusterRoleBinding": BINDING_COLUMNS,
  "coordination.k8s.io/Lease": [nameColumn, column("Holder", (lease) => String(at(lease, "spec", "holderIdentity") ?? "")), ageColumn],
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": [nameColumn, webhooks, ageColumn],
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": [nameColumn, webhooks, ageColumn],
};

function used(quota: KubeObject, limits: boolean): string {
  const hard = Object.entries(asObject(at(quota, "spec", "hard"))).filter(([name]) => name.startsWith("limits.") === limits);
  return hard.map(([name, value]) => `${name}: ${String(at(quota, "status", "used", name) ?? 0)}/${String(value)}`).join(", ");
}
