import { formatProtocol } from "#types/proto.ts";
import type { Endpoint } from "./endpoint.ts";

/** The status of a CiliumEndpoint: what the cluster knows of an endpoint. */
export interface CiliumEndpointStatus {
  readonly id: number;
  readonly identity?: { readonly id: number; readonly labels: string[] };
  readonly networking: { readonly addressing: { ipv4?: string; ipv6?: string }[]; readonly node: string };
  readonly "external-identifiers": Record<string, string>;
  readonly "named-ports"?: { name: string; port: number; protocol: string }[];
  readonly policy: Record<"ingress" | "egress", { enforcing: boolean; state: string }>;
  readonly state: string;
  readonly "service-account": string;
}

/** What of an endpoint's policy its CiliumEndpoint shows. */
export interface PolicyView {
  readonly ingress: boolean;
  readonly egress: boolean;
  readonly audit: boolean;
}

/** The status to publish. `nodeIp` is where other nodes send packets for it. */
export function ciliumEndpointStatus(endpoint: Endpoint, nodeIp: string, policy: PolicyView): CiliumEndpointStatus {
  const { id, identity, labels, pod, containerId, namedPorts, ipv4, ipv6 } = endpoint;
  const direction = (enforcing: boolean) => ({
    enforcing,
    state: enforcing ? (policy.audit ? "non-enforcing" : "enforcing") : "<status disabled>",
  });
  const ports = namedPorts.map(({ name, port, protocol }) => ({ name, port, protocol: formatProtocol(protocol) }));
  return {
    id,
    ...(identity === undefined ? {} : { identity: { id: identity, labels: [...labels.texts] } }),
    networking: { addressing: [{ ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) }], node: nodeIp },
    "external-identifiers": externalIdentifiers(containerId, endpoint.interface.ifname, pod),
    ...(ports.length > 0 ? { "named-ports": ports } : {}),
    policy: { ingress: direction(policy.ingress), egress: direction(policy.egress) },
    state: endpoint.state,
    "service-account": endpoint.serviceAccount,
  };
}

export function externalIdentifiers(containerId: string, ifname: string, pod: Endpoint["pod"]): Record<string, string> {
  return {
    "container-id": containerId,
    "cni-attachment-id": `${containerId}:${ifname}`,
    "k8s-namespace": pod.namespace,
    "k8s-pod-name": pod.name,
    "pod-name": `${pod.namespace}/${pod.name}`,
  };
}
