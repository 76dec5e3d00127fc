import type { Frontend, FrontendType, L4Protocol } from "./types.ts";

/** What we read of a Kubernetes Service. */
export interface ServiceInput {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly externalIPs?: readonly string[];
    readonly ports?: readonly {
      readonly name?: string;
      readonly port: number;
      readonly protocol?: string;
      readonly nodePort?: number;
    }[];
    readonly sessionAffinity?: string;
    readonly sessionAffinityConfig?: { readonly clientIP?: { readonly timeoutSeconds?: number } };
    readonly externalTrafficPolicy?: string;
    readonly internalTrafficPolicy?: string;
    readonly loadBalancerSourceRanges?: readonly string[];
    readonly publishNotReadyAddresses?: boolean;
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

/** Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

/**
 * Every address that the Service is reached at, without backends. A headless Service and an ExternalName have none; ports with a
 * protocol that cannot be balanced are left out.
 */
export function frontendsOf(service: ServiceInput): Frontend[] {
  const spec = service.spec;
  if (!spec || spec.type === "ExternalName") return [];
  const addresses = addressesOf(service);
  const affinitySeconds =
    spec.sessionAffinity === "ClientIP" ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS) : undefined;
  return (spec.ports ?? []).flatMap((port) => {
    const protocol = parseProtocol(port.protocol);
    if (protocol === undefined) return [];
    return addresses.flatMap(({ type, ip }): Frontend[] => {
      const number = type === "NodePort" ? port.nodePort : port.port;
      if (!number) return [];
      const policy = type === "ClusterIP" ? spec.internalTrafficPolicy : spec.externalTrafficPolicy;
      return [
        {
          service: { namespace: service.metadata.namespace ?? "default", name: service.metadata.name },
          portName: port.name ?? "",
          type,
          address: { ip, port: number, protocol },
          backends: [],
          affinitySeconds,
          trafficPolicy: policy === "Local" ? "Local" : "Cluster",
          sourceRanges: type === "LoadBalancer" ? (spec.loadBalancerSourceRanges ?? []) : [],
        },
      ];
    });
  });
}

function parseProtocol(text = "TCP"): L4Protocol | undefined {
  return text === "TCP" || text === "UDP" || text === "SCTP" ? text : undefined;
}

function addressesOf({ spec, status }: ServiceInput): { type: FrontendType; ip: string }[] {
  const clusterIps = spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []);
  const real = clusterIps.filter((ip) => ip !== "" && ip !== "None");
  const hasNodePort = spec?.type === "NodePort" || spec?.type === "LoadBalancer";
  const families = new Set(real.map((ip) => (ip.includes(":") ? "::" : "0.0.0.0")));
  const ingress = status?.loadBalancer?.ingress?.flatMap(({ ip }) => (ip ? [ip] : [])) ?? [];
  return [
    ...real.map((ip) => ({ type: "ClusterIP" as const, ip })),
    ...(hasNodePort ? [...families].map((ip) => ({ type: "NodePort" as const, ip })) : []),
    ...ingress.map((ip) => ({ type: "LoadBalancer" as const, ip })),
    ...(spec?.externalIPs ?? []).map((ip) => ({ type: "ExternalIPs" as const, ip })),
  ];
}
