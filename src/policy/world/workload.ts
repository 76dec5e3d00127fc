import { identityLabels, type LabelFilterRule } from "#labels/identity-labels.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { parseProtocol, protocolNumber } from "#types/proto.ts";
import { listOf, objectOf, textOf, textsOf } from "../parse/fields.ts";
import type { NamedPort } from "../selectors/selector-cache.ts";
import { identityOf, type SourcedObject } from "./objects.ts";

/** What a pod belongs to, as its users call it. */
export type Workload = { readonly kind: string; readonly name: string };

/** A pod, or the pod that a workload's template would make. */
export type PodView = {
  readonly namespace: string;
  /** The pod's name; for a template the workload's. */
  readonly name: string;
  readonly workload: Workload;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  readonly node: string;
  readonly addresses: readonly IpAddress[];
  readonly namedPorts: readonly NamedPort[];
  /** All ports that the containers declare; the name may be empty. */
  readonly containerPorts: readonly NamedPort[];
  /** A pod that is there, or the template of a workload that says it has one: what it sends to itself never meets another replica. */
  readonly isOne: boolean;
  readonly from: SourcedObject;
};

const templateKinds = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"];

/** A ReplicaSet that a Deployment made is called as the Deployment with the pods' template hash. */
export function workloadOf({ kind, name }: Workload, labels: Readonly<Record<string, string>>): Workload {
  const hash = labels["pod-template-hash"];
  if (kind === "ReplicaSet" && hash && name.endsWith(`-${hash}`)) return { kind: "Deployment", name: name.slice(0, -hash.length - 1) };
  return { kind, name };
}

function ownerOf(object: unknown): Workload | undefined {
  const owners = listOf(objectOf(objectOf(object).metadata).ownerReferences).map(objectOf);
  const owner = owners.find(({ controller }) => controller === true) ?? owners[0];
  return owner && { kind: textOf(owner.kind), name: textOf(owner.name) };
}

function containerPortsOf(spec: unknown): NamedPort[] {
  const ports = listOf(objectOf(spec).containers).flatMap((one) => listOf(objectOf(one).ports).map(objectOf));
  return ports.flatMap(({ name, containerPort, protocol }) =>
    typeof containerPort === "number"
      ? [{ name: textOf(name), port: containerPort, protocol: parseProtocol(textOf(protocol) || "TCP") ?? protocolNumber.TCP }]
      : [],
  );
}

function viewOf(from: SourcedObject, workload: Workload, labels: Readonly<Record<string, string>>, spec: unknown): PodView {
  const { kind, namespace, name } = identityOf(from.object);
  const { serviceAccountName, hostNetwork, nodeName } = objectOf(spec);
  const { podIP, podIPs } = objectOf(objectOf(from.object).status);
  const texts = [textOf(podIP), ...listOf(podIPs).map((one) => textOf(objectOf(one).ip))];
  const addresses = texts.map(parseAddress).filter((one) => one !== undefined);
  const containerPorts = containerPortsOf(spec);
  return {
    namespace: namespace || "default",
    name,
    workload,
    labels,
    serviceAccount: textOf(serviceAccountName) || "default",
    hostNetwork: hostNetwork === true,
    node: textOf(nodeName),
    addresses: [...new Set(addresses)],
    namedPorts: containerPorts.filter((one) => one.name !== ""),
    containerPorts,
    isOne: kind === "Pod" || objectOf(objectOf(from.object).spec).replicas === 1,
    from,
  };
}

/** The pod that an object is, or that its template makes; undefined for other objects and for pods that have ended. */
export function podViewOf(from: SourcedObject): PodView | undefined {
  const { kind, name, labels } = identityOf(from.object);
  const { spec, status } = objectOf(from.object);
  if (kind === "Pod") {
    if (["Succeeded", "Failed"].includes(textOf(objectOf(status).phase))) return undefined;
    return viewOf(from, workloadOf(ownerOf(from.object) ?? { kind, name }, labels), labels, spec);
  }
  if (!templateKinds.includes(kind) || (kind === "ReplicaSet" && ownerOf(from.object) !== undefined)) return undefined;
  const outer = kind === "CronJob" ? objectOf(objectOf(spec).jobTemplate).spec : spec;
  const template = objectOf(objectOf(outer).template);
  return viewOf(from, { kind, name }, textsOf(objectOf(template.metadata).labels), template.spec);
}

/** The pods of a set of objects. A template stands for its pods only where none of them is there. */
export function podsOf(objects: readonly SourcedObject[]): PodView[] {
  const views = objects.map(podViewOf).filter((view) => view !== undefined);
  const keyOf = ({ namespace, workload }: PodView) => `${workload.kind}/${namespace}/${workload.name}`;
  const isPod = (view: PodView) => identityOf(view.from.object).kind === "Pod";
  const running = new Set(views.filter(isPod).map(keyOf));
  return views.filter((view) => isPod(view) || !running.has(keyOf(view)));
}

/** The labels of a namespace: those of its object, if there is one, and the one that the API server puts on every namespace. */
export function namespaceLabels(
  namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>,
  namespace: string,
): Readonly<Record<string, string>> {
  return { ...namespaces.get(namespace), "kubernetes.io/metadata.name": namespace };
}

/** The labels that make a pod's identity, through the agent's own filter. */
export function labelsOfPod(
  pod: PodView,
  namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>,
  settings: { readonly cluster: string; readonly filter: readonly LabelFilterRule[] },
): LabelSet {
  const { labels, namespace, serviceAccount } = pod;
  const from = { labels, namespace, namespaceLabels: namespaceLabels(namespaces, namespace), serviceAccount, cluster: settings.cluster };
  return identityLabels(from, settings.filter);
}
