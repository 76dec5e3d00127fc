import { identityLabels, type LabelFilterRule } from "#labels/identity-labels.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { parseProtocol, protocolNumber } from "#types/proto.ts";
import type { NamedPort } from "./endpoint.ts";

/** The parts of a pod that an endpoint is made of. */
export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly namedPorts: readonly NamedPort[];
  readonly hostNetwork: boolean;
}

interface PodLike {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Record<string, string>;
  };
  readonly spec?: {
    readonly hostNetwork?: boolean;
    readonly serviceAccountName?: string;
    readonly containers?: readonly {
      readonly ports?: readonly { readonly name?: string; readonly containerPort: number; readonly protocol?: string }[];
    }[];
  };
}

/** Takes what we need from a Kubernetes pod. */
export function podView({ metadata, spec = {} }: PodLike): PodView {
  const ports = (spec.containers ?? []).flatMap((container) => container.ports ?? []);
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    uid: metadata.uid ?? "",
    labels: metadata.labels ?? {},
    serviceAccount: spec.serviceAccountName ?? "default",
    hostNetwork: spec.hostNetwork === true,
    namedPorts: ports.flatMap(({ name, containerPort, protocol }) =>
      name ? [{ name, port: containerPort, protocol: parseProtocol(protocol ?? "TCP") ?? protocolNumber.TCP }] : [],
    ),
  };
}

/** The labels that make the pod's identity. */
export function labelsOfPod(
  pod: Pick<PodView, "namespace" | "labels" | "serviceAccount">,
  namespaceLabels: Readonly<Record<string, string>>,
  settings: { readonly cluster: string; readonly filter: readonly LabelFilterRule[] | undefined },
): LabelSet {
  const { namespace, labels, serviceAccount } = pod;
  return identityLabels({ labels, namespace, namespaceLabels, serviceAccount, cluster: settings.cluster }, settings.filter);
}
