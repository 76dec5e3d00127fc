import type { PodCondition, PodStatus } from "kubernetes-types/core/v1.js";
import { condition } from "../controllers/status.ts";
import type { NodeHost } from "../node-host.ts";
import type { Pod } from "../objects.ts";
import { type ContainerRecord, containerStatus } from "./container.ts";

/** What the kubelet knows of a pod, from which its status is written. */
export interface PodState {
  readonly init: readonly ContainerRecord[];
  readonly main: readonly ContainerRecord[];
  readonly initialized: boolean;
  readonly ips: readonly string[];
  readonly startTime: string;
  readonly sandboxReady: boolean;
}

/** The pod's status as the kubelet reports it; times of transition are kept from the pod's present status. */
export function podStatus(host: NodeHost, pod: Pod, state: PodState): PodStatus {
  const hostIps = [host.config.ipv4, ...(host.config.ipv6 ? [host.config.ipv6] : [])];
  const phase = phaseOf(pod, state);
  return {
    phase,
    conditions: conditionsOf(pod, state, phase),
    hostIP: host.config.ipv4,
    hostIPs: hostIps.map((ip) => ({ ip })),
    ...(state.ips[0] ? { podIP: state.ips[0], podIPs: state.ips.map((ip) => ({ ip })) } : {}),
    startTime: state.startTime,
    qosClass: qualityOf(pod),
    ...(state.init.length ? { initContainerStatuses: state.init.map(containerStatus) } : {}),
    containerStatuses: state.main.map(containerStatus),
  };
}

function phaseOf(pod: Pod, state: PodState): string {
  const exits = state.main.map((record) => record.state.terminated);
  const policy = pod.spec.restartPolicy ?? "Always";
  if (state.init.some((record) => record.state.terminated && record.state.terminated.exitCode !== 0) && policy === "Never") return "Failed";
  if (exits.length > 0 && exits.every((exit) => exit !== undefined) && policy !== "Always") {
    return exits.every((exit) => exit?.exitCode === 0) ? "Succeeded" : "Failed";
  }
  const started = state.main.every((record) => record.state.running || record.state.terminated || record.restarts > 0);
  return state.initialized && started ? "Running" : "Pending";
}

function conditionsOf(pod: Pod, state: PodState, phase: string): PodCondition[] {
  const before = pod.status?.conditions;
  const finished = phase === "Succeeded" || phase === "Failed";
  const unready = state.main.filter((record) => !record.ready).map((record) => record.container.name);
  const readiness = finished
    ? { status: "False", reason: phase === "Succeeded" ? "PodCompleted" : "PodFailed" }
    : unready.length > 0
      ? { status: "False", reason: "ContainersNotReady", message: `containers with unready status: [${unready.join(" ")}]` }
      : { status: "True" };
  const flag = (value: boolean) => ({ status: value ? "True" : "False" });
  return [
    { type: "PodReadyToStartContainers", ...flag(state.sandboxReady) },
    { type: "Initialized", ...flag(state.initialized) },
    { type: "Ready", ...readiness },
    { type: "ContainersReady", ...readiness },
    { type: "PodScheduled", status: "True" },
  ].map((next) => condition(before, next));
}

function qualityOf(pod: Pod): string {
  const all = pod.spec.containers.map((container) => container.resources ?? {});
  if (all.every(({ requests, limits }) => !requests && !limits)) return "BestEffort";
  const guaranteed = all.every(
    ({ requests, limits }) =>
      limits?.cpu && limits.memory && (!requests || (requests.cpu === limits.cpu && requests.memory === limits.memory)),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}
