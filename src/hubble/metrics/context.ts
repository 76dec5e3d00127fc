import { type Endpoint, type Flow, TrafficDirection } from "#api/gen/flow/flow_pb.ts";
import type { MetricConfig } from "./config.ts";

/** The labels about the ends of a flow that the operator asked for. */
export interface MetricContext {
  readonly names: readonly string[];
  /** Their values; `reversed` when the flow is an answer and the labels are about its question. */
  values(flow: Flow, reversed?: boolean): Record<string, string>;
}

const KUBE_APISERVER = "reserved:kube-apiserver";

type End = "source" | "destination";
type Read = (flow: Flow, end: End) => string;

function labelOf(endpoint: Endpoint | undefined, ...keys: readonly string[]): string {
  for (const key of keys) {
    const prefix = `${key}=`;
    const found = endpoint?.labels.find((label) => label.startsWith(prefix));
    if (found !== undefined) return found.slice(prefix.length);
  }
  return "";
}

function qualified(namespace: string | undefined, name: string | undefined): string {
  if (name === undefined || name === "") return "";
  return namespace ? `${namespace}/${name}` : name;
}

const app: Read = (flow, end) => labelOf(flow[end], "k8s:app.kubernetes.io/name", "k8s:app", "k8s:k8s-app");
const workload = (flow: Flow, end: End) => flow[end]?.workloads[0];

/** `reserved:kube-apiserver` says more than the `reserved:world` or `reserved:remote-node` beside it. */
function reservedLabel(labels: readonly string[]): string {
  if (labels.includes(KUBE_APISERVER)) return KUBE_APISERVER;
  return labels.find((label) => label.startsWith("reserved:")) ?? "";
}

const CONTEXTS: Readonly<Record<string, Read>> = {
  identity: (flow, end) => (flow[end]?.labels ?? []).join(","),
  namespace: (flow, end) => flow[end]?.namespace ?? "",
  pod: (flow, end) => qualified(flow[end]?.namespace, flow[end]?.podName),
  "pod-name": (flow, end) => flow[end]?.podName ?? "",
  dns: (flow, end) => (end === "source" ? flow.sourceNames : flow.destinationNames).join(","),
  ip: (flow, end) => flow.IP?.[end] ?? "",
  "reserved-identity": (flow, end) => reservedLabel(flow[end]?.labels ?? []),
  workload: (flow, end) => qualified(flow[end]?.namespace, workload(flow, end)?.name),
  "workload-name": (flow, end) => workload(flow, end)?.name ?? "",
  app,
};

const LABELS: Readonly<Record<string, Read>> = {
  ip: CONTEXTS.ip ?? (() => ""),
  namespace: CONTEXTS.namespace ?? (() => ""),
  pod: (flow, end) => flow[end]?.podName ?? "",
  workload: (flow, end) => workload(flow, end)?.name ?? "",
  workload_kind: (flow, end) => workload(flow, end)?.kind ?? "",
  app,
};

/** Reads `sourceContext`, `destinationContext`, their `Ingress` and `Egress` forms, and `labelsContext`. Throws RangeError for unknown ones. */
export function createContext({ name, options }: MetricConfig): MetricContext {
  const ends = (["source", "destination"] as const).flatMap((end) => {
    const plain = readers(name, options.get(`${end}context`));
    const ingress = readers(name, options.get(`${end}ingresscontext`)) ?? plain;
    const egress = readers(name, options.get(`${end}egresscontext`)) ?? plain;
    return plain === undefined && ingress === undefined && egress === undefined ? [] : [{ end, plain, ingress, egress }];
  });
  const labels = [...new Set(options.get("labelscontext"))];
  const labelReaders = labels.map((label) => [label, labelReader(name, label)] as const);
  return {
    names: [...ends.map(({ end }) => end), ...labels],
    values(flow, reversed = false) {
      const values: Record<string, string> = {};
      for (const { end, plain, ingress, egress } of ends) {
        const chosen =
          flow.trafficDirection === TrafficDirection.INGRESS ? ingress : flow.trafficDirection === TrafficDirection.EGRESS ? egress : plain;
        values[end] = firstOf(chosen ?? [], flow, reversed ? opposite(end) : end);
      }
      for (const [label, read] of labelReaders) values[label] = read(flow, reversed);
      return values;
    },
  };
}

function opposite(end: End): End {
  return end === "source" ? "destination" : "source";
}

function firstOf(reads: readonly Read[], flow: Flow, end: End): string {
  for (const read of reads) {
    const text = read(flow, end);
    if (text !== "") return text;
  }
  return "";
}

function readers(metric: string, names: readonly string[] | undefined): Read[] | undefined {
  if (names === undefined || names.length === 0) return undefined;
  return names.map((name) => {
    const read = CONTEXTS[name.toLowerCase()];
    if (read === undefined)
      throw new RangeError(`hubble metric ${metric}: unknown context "${name}"; known are ${Object.keys(CONTEXTS).join(", ")}`);
    return read;
  });
}

function labelReader(metric: string, label: string): (flow: Flow, reversed: boolean) => string {
  if (label === "traffic_direction") return ({ trafficDirection }) => directionText(trafficDirection);
  const match = /^(source|destination)_(.+)$/.exec(label);
  const read = LABELS[match?.[2] ?? ""];
  if (match === null || read === undefined) throw new RangeError(`hubble metric ${metric}: unknown label "${label}" in labelsContext`);
  const end: End = match[1] === "source" ? "source" : "destination";
  return (flow, reversed) => read(flow, reversed ? opposite(end) : end);
}

/** `ingress`, `egress` or `unknown`. */
export function directionText(direction: TrafficDirection): string {
  if (direction === TrafficDirection.INGRESS) return "ingress";
  return direction === TrafficDirection.EGRESS ? "egress" : "unknown";
}
