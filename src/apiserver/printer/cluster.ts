import { asArray, asObject, at, type KubeObject } from "../object.ts";
import { ageColumn, type Column, column, createdColumn, nameColumn, wide } from "./columns.ts";

function nodeStatus(node: KubeObject): string {
  const ready = asArray(at(node, "status", "conditions"))
    .map(asObject)
    .find((condition) => condition.type === "Ready");
  const parts = [ready?.status === "True" ? "Ready" : ready ? "NotReady" : "Unknown"];
  if (at(node, "spec", "unschedulable") === true) parts.push("SchedulingDisabled");
  return parts.join(",");
}

const ROLE = "node-role.kubernetes.io/";

function nodeRoles(node: KubeObject): string {
  const labels = node.metadata.labels ?? {};
  const named = Object.keys(labels)
    .filter((key) => key.startsWith(ROLE))
    .map((key) => key.slice(ROLE.length));
  const old = labels["kubernetes.io/role"];
  return [...new Set([...named, ...(old ? [old] : [])])].filter(Boolean).sort().join(",") || "<none>";
}

const nodeAddress = (type: string) => (node: KubeObject) =>
  String(
    at(
      asArray(at(node, "status", "addresses")).find((each) => at(each, "type") === type),
      "address",
    ) ?? "<none>",
  );
const nodeInfo = (key: string) => (node: KubeObject) => String(at(node, "status", "nodeInfo", key) ?? "<unknown>");

const MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};
const accessModes = (value: unknown): string =>
  asArray(value)
    .map((mode) => MODES[String(mode)] ?? "")
    .join(",");

const text = (name: string, ...path: readonly string[]): Column => column(name, (object) => String(at(object, ...path) ?? ""));

function claimOf(volume: KubeObject): string {
  const claim = asObject(at(volume, "spec", "claimRef"));
  return claim.name ? `${String(claim.namespace)}/${String(claim.name)}` : "";
}

const phase = (object: KubeObject): string =>
  object.metadata.deletionTimestamp ? "Terminating" : String(at(object, "status", "phase") ?? "");

export const CLUSTER_COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  "/Namespace": [nameColumn, column("Status", (namespace) => String(at(namespace, "status", "phase") ?? "")), ageColumn],
  "/Node": [
    nameColumn,
    column("Status", nodeStatus),
    column("Roles", nodeRoles),
    ageColumn,
    column("Version", (node) => String(at(node, "status", "nodeInfo", "kubeletVersion") ?? "")),
    wide("Internal-IP", nodeAddress("InternalIP")),
    wide("External-IP", nodeAddress("ExternalIP")),
    wide("OS-Image", nodeInfo("osImage")),
    wide("Kernel-Version", nodeInfo("kernelVersion")),
    wide("Container-Runtime", nodeInfo("containerRuntimeVersion")),
  ],
  "/PersistentVolume": [
    nameColumn,
    text("Capacity", "spec", "capacity", "storage"),
    column("Access Modes", (volume) => accessModes(at(volume, "spec", "accessModes"))),
    text("Reclaim Policy", "spec", "persistentVolumeReclaimPolicy"),
    column("Status", phase),
    column("Claim", claimOf),
    text("StorageClass", "spec", "storageClassName"),
    column("VolumeAttributesClass", () => "<unset>"),
    text("Reason", "status", "reason"),
    ageColumn,
    wide("VolumeMode", (volume) => String(at(volume, "spec", "volumeMode") ?? "<unset>")),
  ],
  "/PersistentVolumeClaim": [
    nameColumn,
    column("Status", phase),
    text("Volume", "spec", "volumeName"),
    text("Capacity", "status", "capacity", "storage"),
    column("Access Modes", (claim) => accessModes(at(claim, "status", "accessModes"))),
    text("StorageClass", "spec", "storageClassName"),
    column("VolumeAttributesClass", () => "<unset>"),
    ageColumn,
    wide("VolumeMode", (claim) => String(at(claim, "spec", "volumeMode") ?? "<unset>")),
  ],
  "storage.k8s.io/StorageClass": [
    column(
      "Name",
      (one) =>
        one.metadata.name + (one.metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true" ? " (default)" : ""),
      { format: "name" },
    ),
    text("Provisioner", "provisioner"),
    text("ReclaimPolicy", "reclaimPolicy"),
    text("VolumeBindingMode", "volumeBindingMode"),
    column("AllowVolumeExpansion", (one) => one.allowVolumeExpansion === true),
    ageColumn,
  ],
  "scheduling.k8s.io/PriorityClass": [
    nameColumn,
    column("Value", (one) => Number(one.value ?? 0), { type: "integer" }),
    column("Global-Default", (one) => one.globalDefault === true, { type: "boolean" }),
    ageColumn,
    text("PreemptionPolicy", "preemptionPolicy"),
  ],
  "node.k8s.io/RuntimeClass": [nameColumn, text("Handler", "handler"), ageColumn],
  "apiextensions.k8s.io/CustomResourceDefinition": [nameColumn, createdColumn],
};
