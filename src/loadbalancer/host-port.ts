import { parseAddress } from "#types/addr.ts";
import { isPort, parseL4Protocol } from "./service.ts";
import { nameOf } from "./source.ts";
import { type Frontend, l4Address } from "./types.ts";

interface ContainerInput {
  readonly ports?: readonly {
    readonly name?: string;
    readonly containerPort: number;
    readonly protocol?: string;
    readonly hostPort?: number;
    readonly hostIP?: string;
  }[];
}

/** What we read of a Pod of this node. */
export interface PodInput {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly containers?: readonly ContainerInput[];
    /** Sidecars are among them. */
    readonly initContainers?: readonly ContainerInput[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Addresses of a pod, canonical; none of a pod that has ended or has the node's. */
export function podAddresses({ spec, status }: PodInput): string[] {
  if (spec?.hostNetwork || status?.phase === "Succeeded" || status?.phase === "Failed") return [];
  const texts = status?.podIPs?.length ? status.podIPs.map(({ ip }) => ip) : [status?.podIP ?? ""];
  return texts.flatMap((text) => parseAddress(text) ?? []);
}

/** A host port is a frontend on the node's addresses (or on `hostIP`) whose only backend is the pod. */
export function hostPortsOf(pod: PodInput): Frontend[] {
  const addresses = podAddresses(pod);
  const service = nameOf(pod);
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  const ports = containers.flatMap((container) => container.ports ?? []);
  return ports.flatMap(({ hostPort, hostIP, containerPort, protocol: text, name }) => {
    const protocol = parseL4Protocol(text);
    if (protocol === undefined || !isPort(hostPort) || !isPort(containerPort)) return [];
    const wanted = hostIP ? parseAddress(hostIP) : undefined;
    return addresses.flatMap((ip): Frontend[] => {
      const any = ip.includes(":") ? "::" : "0.0.0.0";
      if (wanted !== undefined && wanted !== any && wanted.includes(":") !== ip.includes(":")) return [];
      const backend = { address: l4Address(ip, containerPort, protocol), state: "active", nodeName: pod.spec?.nodeName } as const;
      return [
        {
          service,
          portName: name ?? "",
          type: "HostPort",
          address: l4Address(wanted ?? any, hostPort, protocol),
          backends: [backend],
          internalPolicy: "Cluster",
          externalPolicy: "Cluster",
          sourceRanges: [],
          denySourceRanges: false,
        },
      ];
    });
  });
}
