/** `namespace/name` of a Kubernetes Service. */
export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

export type L4Protocol = "TCP" | "UDP" | "SCTP";

/** An address of one transport protocol. `ip` in canonical text form, `port` in host order. */
export interface L4Address {
  readonly ip: string;
  readonly port: number;
  readonly protocol: L4Protocol;
}

/** Which of a Service's addresses this is; Cilium's names, as `cilium service list` prints them. */
export type FrontendType = "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalIPs";

export type BackendState = "active" | "terminating" | "not-ready";

export interface Backend {
  readonly address: L4Address;
  readonly state: BackendState;
  readonly nodeName?: string | undefined;
  readonly zone?: string | undefined;
}

/** One address of a service and everything behind it. */
export interface Frontend {
  readonly service: ServiceName;
  readonly portName: string;
  readonly type: FrontendType;
  /** The port is a node port on every node's own addresses when `ip` is `0.0.0.0` or `::`. */
  readonly address: L4Address;
  readonly backends: readonly Backend[];
  /** Seconds for which a client keeps its backend; absent without session affinity. */
  readonly affinitySeconds?: number | undefined;
  /** `Local`: only backends on the node that got the connection. */
  readonly trafficPolicy: "Cluster" | "Local";
  readonly sourceRanges: readonly string[];
}

/** `10.96.0.1:443/TCP`, IPv6 in brackets. */
export function formatL4Address({ ip, port, protocol }: L4Address): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}/${protocol}`;
}
