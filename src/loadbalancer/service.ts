import { parseAddress } from "#types/addr.ts";
import { type Prefix, parsePrefix } from "#types/prefix.ts";
import { parseAnnotations, type ServiceAnnotations } from "./annotations.ts";
import { type Frontend, type FrontendType, isSpecial, type L4Protocol, l4Address, type ServiceName } from "./types.ts";

/** What we read of a Kubernetes Service. */
export interface ServiceInput {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly creationTimestamp?: string;
  };
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
    readonly healthCheckNodePort?: number;
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string; readonly ipMode?: string }[] } };
}

/** A Service as the datapath needs it. */
export interface ParsedService {
  readonly name: ServiceName;
  /** Every address it is reached at, without backends. Empty for headless services and ExternalName. */
  readonly frontends: readonly Frontend[];
  /** Where load balancers ask whether this node has backends; absent unless external traffic stays on the node. */
  readonly healthCheckNodePort?: number | undefined;
  readonly annotations: ServiceAnnotations;
  /** What of the object could not be used and why; the rest is. */
  readonly problems: readonly string[];
}

/** Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

type PortInput = NonNullable<NonNullable<ServiceInput["spec"]>["ports"]>[number];

/**
 * Reads a Service of this name. Never throws: what cannot be used is left out and named in `problems`. With `allTypes` loadBalancerSourceRanges are for every
 * address of the service, not only for those of load balancers and external ones.
 */
export function parseService(name: ServiceName, service: ServiceInput, allTypes = false): ParsedService {
  const spec = service.spec ?? {};
  const annotations = parseAnnotations(service.metadata.annotations);
  const problems = [...annotations.problems];
  if (spec.type === "ExternalName") return { name, frontends: [], annotations, problems };
  const { denySourceRanges, algorithm, forwarding } = annotations;
  const affinitySeconds = affinityOf(spec, problems);
  const ranges = rangesOf(spec.loadBalancerSourceRanges ?? [], problems);
  const internalPolicy = policyOf(spec.internalTrafficPolicy);
  const external = policyOf(spec.externalTrafficPolicy);
  const frontends = placesOf(service, annotations.onlyType, problems).map(
    ({ type, portName, address }): Frontend => ({
      service: name,
      portName,
      type,
      address,
      backends: [],
      affinitySeconds,
      internalPolicy,
      externalPolicy: type === "ClusterIP" ? internalPolicy : external,
      sourceRanges: allTypes || type === "LoadBalancer" || type === "ExternalIPs" ? ranges : [],
      denySourceRanges,
      algorithm,
      forwarding,
    }),
  );
  const asksHealth = spec.type === "LoadBalancer" && external === "Local" && isPort(spec.healthCheckNodePort);
  return { name, frontends, annotations, problems, healthCheckNodePort: asksHealth ? spec.healthCheckNodePort : undefined };
}

/** Every port at every address; of one type alone when it is given. */
function placesOf(
  service: ServiceInput,
  onlyType: FrontendType | undefined,
  problems: string[],
): Pick<Frontend, "type" | "portName" | "address">[] {
  const addresses = addressesOf(service, problems).filter(({ type }) => onlyType === undefined || type === onlyType);
  const places: Pick<Frontend, "type" | "portName" | "address">[] = [];
  for (const { input, protocol } of portsOf(service.spec?.ports ?? [], problems)) {
    for (const { type, ip } of addresses) {
      const port = type === "NodePort" ? input.nodePort : input.port;
      if (port === undefined || port === 0) continue;
      if (isPort(port)) places.push({ type, portName: input.name ?? "", address: l4Address(ip, port, protocol) });
      else problems.push(`spec.ports: nodePort ${port} of port ${input.port} is not from 1 to 65535`);
    }
  }
  return places;
}

function policyOf(text: string | undefined): "Local" | "Cluster" {
  return text === "Local" ? "Local" : "Cluster";
}

export function isPort(port: unknown): port is number {
  return Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536;
}

export function parseL4Protocol(text = "TCP"): L4Protocol | undefined {
  return text === "TCP" || text === "UDP" || text === "SCTP" ? text : undefined;
}

function affinityOf(spec: NonNullable<ServiceInput["spec"]>, problems: string[]): number | undefined {
  if (spec.sessionAffinity !== "ClientIP") return undefined;
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS;
  if (Number.isInteger(seconds) && seconds > 0 && seconds <= 86_400) return seconds;
  problems.push(`spec.sessionAffinityConfig.clientIP.timeoutSeconds: found ${seconds}, used ${DEFAULT_AFFINITY_SECONDS}`);
  return DEFAULT_AFFINITY_SECONDS;
}

function portsOf(ports: readonly PortInput[], problems: string[]): { input: PortInput; protocol: L4Protocol }[] {
  return ports.flatMap((input) => {
    const protocol = parseL4Protocol(input.protocol);
    if (protocol === undefined) problems.push(`spec.ports: protocol "${input.protocol}" of port ${input.port} cannot be balanced`);
    else if (!isPort(input.port)) problems.push(`spec.ports: port ${input.port} is not from 1 to 65535`);
    else return [{ input, protocol }];
    return [];
  });
}

function rangesOf(ranges: readonly string[], problems: string[]): Prefix[] {
  return ranges.flatMap((text) => {
    const prefix = parsePrefix(text.trim());
    if (prefix === undefined) problems.push(`spec.loadBalancerSourceRanges: "${text}" is no address block such as 10.0.0.0/8`);
    return prefix ?? [];
  });
}

/** Kubernetes' label: the name leads to the pods themselves, whatever addresses the service has. */
const HEADLESS_LABEL = "service.kubernetes.io/headless";

const ANY = ["0.0.0.0", "::"];

function clusterIpsOf({ spec = {} }: ServiceInput): readonly string[] {
  return spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? ""];
}

function isHeadless(service: ServiceInput): boolean {
  return clusterIpsOf(service).includes("None") || service.metadata.labels?.[HEADLESS_LABEL] !== undefined;
}

function addressesOf(service: ServiceInput, problems: string[]): { type: FrontendType; ip: string }[] {
  if (isHeadless(service)) return [];
  const { spec = {}, status } = service;
  const found: { type: FrontendType; ip: string }[] = [];
  const read = (type: FrontendType, field: string, text: string) => {
    const ip = parseAddress(text);
    if (ip === undefined || isSpecial(ip)) problems.push(`${field}: "${text}" is no IP address that a service can have`);
    else found.push({ type, ip });
  };
  const isBalanced = spec.type === "LoadBalancer";
  for (const text of clusterIpsOf(service)) if (text !== "") read("ClusterIP", "spec.clusterIPs", text);
  if (isBalanced || spec.type === "NodePort") {
    const families = ANY.filter((any) => found.some(({ ip }) => ip.includes(":") === any.includes(":")));
    for (const ip of families) found.push({ type: "NodePort", ip });
  }
  // A load balancer of mode Proxy forwards by itself: packets to its address are not ours.
  const ingress = isBalanced ? status?.loadBalancer?.ingress : undefined;
  for (const { ip, ipMode } of ingress ?? []) if (ip && ipMode !== "Proxy") read("LoadBalancer", "status.loadBalancer.ingress", ip);
  for (const text of spec.externalIPs ?? []) read("ExternalIPs", "spec.externalIPs", text);
  return found;
}
