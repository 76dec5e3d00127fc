import { asArray, asObject, at, type Json, type JsonObject, type KubeObject } from "../object.ts";
import { age, ageColumn, type Column, column, nameColumn, wide } from "./columns.ts";

const list = (parent: unknown, key: string): JsonObject[] => asArray(at(parent, key)).map(asObject);

/** Sidecars are init containers that keep running. */
const isSidecar = (spec: unknown, name: unknown): boolean =>
  list(spec, "initContainers").some((container) => container.name === name && container.restartPolicy === "Always");

/** The one word that sums a pod up, as `kubectl get pods` shows it. */
export function podStatus(pod: KubeObject): string {
  const { spec, status } = pod;
  let reason = String(at(status, "reason") ?? at(status, "phase") ?? "Unknown");
  for (const condition of list(status, "conditions")) {
    if (condition.type === "PodScheduled" && condition.reason === "SchedulingGated") reason = "SchedulingGated";
  }
  const initial = initReason(pod);
  if (initial !== undefined) reason = initial;
  else reason = containersReason(status, reason);
  if (!pod.metadata.deletionTimestamp) return reason;
  if (at(status, "reason") === "NodeLost") return "Unknown";
  const finished = at(status, "phase") === "Succeeded" || at(status, "phase") === "Failed";
  return finished && at(spec, "nodeName") ? reason : "Terminating";
}

function initReason({ spec, status }: KubeObject): string | undefined {
  const statuses = list(status, "initContainerStatuses");
  const total = list(spec, "initContainers").length;
  for (const [index, container] of statuses.entries()) {
    const { terminated, waiting } = asObject(container.state);
    if (at(terminated, "exitCode") === 0) continue;
    if (isSidecar(spec, container.name) && container.started === true) continue;
    if (terminated) return `Init:${endReason(asObject(terminated))}`;
    const why = at(waiting, "reason");
    if (typeof why === "string" && why !== "" && why !== "PodInitializing") return `Init:${why}`;
    return `Init:${index}/${total}`;
  }
  return undefined;
}

function endReason({ reason, signal, exitCode }: JsonObject): string {
  if (typeof reason === "string" && reason !== "") return reason;
  return signal ? `Signal:${String(signal)}` : `ExitCode:${String(exitCode)}`;
}

function containersReason(status: unknown, phase: string): string {
  let reason = phase;
  let running = false;
  for (const container of list(status, "containerStatuses").toReversed()) {
    const { waiting, terminated, running: runs } = asObject(container.state);
    const waits = at(waiting, "reason");
    if (typeof waits === "string" && waits !== "") reason = waits;
    else if (terminated) reason = endReason(asObject(terminated));
    else if (container.ready === true && runs) running = true;
  }
  if (reason !== "Completed" || !running) return reason;
  const ready = list(status, "conditions").some((condition) => condition.type === "Ready" && condition.status === "True");
  return ready ? "Running" : "NotReady";
}

function readyCount(pod: KubeObject): string {
  const sidecars = list(pod.spec, "initContainers").filter((container) => container.restartPolicy === "Always");
  const total = list(pod.spec, "containers").length + sidecars.length;
  const main = list(pod.status, "containerStatuses").filter((container) => container.ready === true && at(container, "state", "running"));
  const beside = list(pod.status, "initContainerStatuses").filter(
    (container) => isSidecar(pod.spec, container.name) && container.ready === true,
  );
  return `${main.length + beside.length}/${total}`;
}

function restarts(pod: KubeObject, now: Date): Json {
  const statuses = [
    ...list(pod.status, "initContainerStatuses").filter((each) => isSidecar(pod.spec, each.name)),
    ...list(pod.status, "containerStatuses"),
  ];
  const count = statuses.reduce((sum, container) => sum + Number(container.restartCount ?? 0), 0);
  const last = statuses
    .map((container) => String(at(container, "lastState", "terminated", "finishedAt") ?? ""))
    .sort()
    .at(-1);
  return count > 0 && last ? `${count} (${age(last, now)} ago)` : String(count);
}

const orNone = (value: unknown): string => (typeof value === "string" && value !== "" ? value : "<none>");

function readinessGates(pod: KubeObject): string {
  const gates = list(pod.spec, "readinessGates");
  if (gates.length === 0) return "<none>";
  const met = gates.filter((gate) =>
    list(pod.status, "conditions").some(({ type, status }) => type === gate.conditionType && status === "True"),
  );
  return `${met.length}/${gates.length}`;
}

export const POD_COLUMNS: readonly Column[] = [
  nameColumn,
  column("Ready", readyCount),
  column("Status", podStatus),
  column("Restarts", restarts),
  ageColumn,
  wide("IP", (pod) => orNone(at(pod, "status", "podIP") ?? at(list(pod.status, "podIPs")[0], "ip"))),
  wide("Node", (pod) => orNone(at(pod, "spec", "nodeName"))),
  wide("Nominated Node", (pod) => orNone(at(pod, "status", "nominatedNodeName"))),
  wide("Readiness Gates", readinessGates),
];
